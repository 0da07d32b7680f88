//! Where the ranks of a process leave messages for each other, and for those of other processes.

use crate::{Error, Fate, Result, Work};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages under way and buffers that wait for the next.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    changed: Condvar,
    /// A rank begins to wait: for whoever carries messages to it.
    waits: Condvar,
    nothing: Arc<Vec<f32>>,
}

#[derive(Debug)]
struct State {
    /// For each sender and receiver (`sender * ranks + receiver`) what the one has left for the
    /// other. A handful at most: they are searched one by one.
    queues: Vec<Vec<Message>>,
    free: Vec<Arc<Vec<f32>>>,
    /// Ranks that are gone, and whom each of the others is waiting for.
    left: Vec<bool>,
    waits_for: Vec<Option<usize>>,
    /// The first rank that others had to do without.
    lost: Option<(usize, Fate)>,
}

/// What one rank leaves for another.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) tag: Tag,
    pub(crate) signature: Signature,
    pub(crate) floats: Arc<Vec<f32>>,
}

/// Which of the messages between two ranks: the collectives and what is sent are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    is_sent: bool,
    number: u64,
}

impl Tag {
    pub(crate) fn of(work: &Work, number: u64) -> Tag {
        Tag { is_sent: matches!(work, Work::Send { .. } | Work::Recv { .. }), number }
    }
}

/// What two ranks must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    name: &'static str,
    floats: usize,
    root: usize,
}

impl Signature {
    pub(crate) fn of(work: &Work) -> Signature {
        let (name, floats, root) = match *work {
            Work::AllReduce { x } => ("all_reduce", x.len(), 0),
            Work::ReduceScatter { block, .. } => ("reduce_scatter", block.len(), 0),
            Work::AllGather { block, .. } => ("all_gather", block.len(), 0),
            Work::Broadcast { x, root } => ("broadcast", x.len(), root),
            Work::Send { x, .. } | Work::Recv { x, .. } => ("send or recv", x.len(), 0),
            Work::Barrier => ("barrier", 0, 0),
        };
        Signature { name, floats, root }
    }
}

/// As they travel between processes.
#[cfg(feature = "mpi")]
impl Tag {
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.is_sent.into(), self.number]
    }

    pub(crate) fn from_words([is_sent, number]: [u64; 2]) -> Tag {
        Tag { is_sent: is_sent != 0, number }
    }
}

/// As they travel between processes.
#[cfg(feature = "mpi")]
impl Signature {
    const NAMES: [&str; 6] =
        ["all_reduce", "reduce_scatter", "all_gather", "broadcast", "send or recv", "barrier"];

    pub(crate) fn to_words(self) -> [u64; 2] {
        let name = Self::NAMES.iter().position(|&name| name == self.name);
        let name = name.expect("every name is in the list") as u64;
        [name << 32 | self.root as u64, self.floats as u64]
    }

    pub(crate) fn from_words([name_and_root, floats]: [u64; 2]) -> Signature {
        let name = Self::NAMES.get((name_and_root >> 32) as usize).copied().unwrap_or("?");
        let root = name_and_root as u32 as usize;
        Signature { name, floats: floats as usize, root }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} floats", self.name, self.floats)?;
        match self.name {
            "broadcast" => write!(f, " from rank {}", self.root),
            _ => Ok(()),
        }
    }
}

impl Hub {
    pub(crate) fn new(ranks: usize) -> Hub {
        let state = State {
            queues: (0..ranks * ranks).map(|_| Vec::with_capacity(32)).collect(),
            free: Vec::with_capacity(32 * ranks),
            left: vec![false; ranks],
            waits_for: vec![None; ranks],
            lost: None,
        };
        let nothing = Arc::new(Vec::new());
        Hub { state: Mutex::new(state), changed: Condvar::new(), waits: Condvar::new(), nothing }
    }

    /// A rank that panics does so outside: what the lock guards is always whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` floats that nobody else has: the smallest free one with room, or a new.
    pub(crate) fn buffer(&self, len: usize) -> Arc<Vec<f32>> {
        let mut state = self.lock();
        let fits = state.free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(idx, _)| idx);
        let found = best.map(|idx| state.free.swap_remove(idx));
        drop(state);
        let mut buffer = found.unwrap_or_else(|| Arc::new(Vec::with_capacity(len)));
        Arc::get_mut(&mut buffer).expect("nobody else has a free buffer").resize(len, 0.0);
        buffer
    }

    /// Gives a buffer back; it is free when its last reader has.
    pub(crate) fn give_back(&self, buffer: Arc<Vec<f32>>) {
        let mut state = self.lock(); // until this owner is gone, so that exactly one is the last
        match Arc::strong_count(&buffer) {
            1 => state.free.push(buffer),
            _ => drop(buffer),
        }
    }

    pub(crate) fn reserve(&self, messages: usize, floats: usize) {
        let buffers = (0..messages).map(|_| Arc::new(Vec::with_capacity(floats)));
        self.lock().free.extend(buffers);
    }

    /// What a message without floats carries.
    pub(crate) fn nothing(&self) -> Arc<Vec<f32>> {
        Arc::clone(&self.nothing)
    }

    pub(crate) fn post(&self, from: usize, to: usize, message: Message) {
        let mut state = self.lock();
        let queue = from * state.left.len() + to;
        state.queues[queue].push(message);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for a message from rank `from` to rank `to`.
    ///
    /// # Errors
    /// [`Error::Lost`], the same for all ranks that find out.
    pub(crate) fn take(
        &self,
        (from, to): (usize, usize),
        tag: Tag,
        timeout: Duration,
    ) -> Result<Message> {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(message) = state.find(from, to, tag) {
                state.waits_for[to] = None;
                return Ok(message);
            }
            if state.lost.is_none() {
                if state.left[from] {
                    state.lost = Some((from, Fate::Left));
                } else if began.elapsed() >= timeout {
                    let silent = state.whom_all_wait_for(from);
                    state.lost = Some((silent, Fate::Silent(timeout.as_secs_f64())));
                }
            }
            if let Some((rank, fate)) = state.lost {
                state.waits_for[to] = None;
                self.changed.notify_all();
                return Err(Error::Lost { rank, fate });
            }
            if state.waits_for[to].replace(from).is_none() {
                self.waits.notify_all();
            }
            let left = timeout.saturating_sub(began.elapsed());
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a message from rank `from` to any other, for whoever carries it there. Nothing
    /// when the rank is gone and all that it left has been carried.
    #[cfg(feature = "mpi")]
    pub(crate) fn next_from(&self, from: usize) -> Option<(usize, Message)> {
        let mut state = self.lock();
        loop {
            let ranks = state.left.len();
            let to = (0..ranks).find(|to| !state.queues[from * ranks + to].is_empty());
            if let Some(to) = to {
                return Some((to, state.queues[from * ranks + to].remove(0)));
            }
            if state.left[from] {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sleeps for `short` while a rank waits for somebody; else until it does, for `long` at most.
    #[cfg(feature = "mpi")]
    pub(crate) fn nap(&self, rank: usize, short: Duration, long: Duration) {
        let state = self.lock();
        let computes = |state: &mut State| state.waits_for[rank].is_none() && !state.left[rank];
        let woken = self.waits.wait_timeout_while(state, long, computes);
        let (state, slept) = woken.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if !slept.timed_out() {
            std::thread::sleep(short);
        }
    }

    /// Which ranks are gone.
    #[cfg(feature = "mpi")]
    pub(crate) fn left(&self) -> Vec<bool> {
        self.lock().left.clone()
    }

    /// The first rank that others had to do without.
    #[cfg(feature = "mpi")]
    pub(crate) fn lost(&self) -> Option<(usize, Fate)> {
        self.lock().lost
    }

    /// Notes what another rank found out.
    #[cfg(feature = "mpi")]
    pub(crate) fn lose(&self, rank: usize, fate: Fate) {
        self.lock().lost.get_or_insert((rank, fate));
        self.changed.notify_all();
    }

    /// Notes that a rank is gone; whoever waits for it finds out.
    pub(crate) fn leave(&self, rank: usize, fate: Fate) {
        let mut state = self.lock();
        state.left[rank] = true;
        if fate == Fate::Panicked && state.lost.is_none() {
            state.lost = Some((rank, fate));
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn find(&mut self, from: usize, to: usize, tag: Tag) -> Option<Message> {
        let queue = &mut self.queues[from * self.left.len() + to];
        let idx = queue.iter().position(|message| message.tag == tag)?;
        Some(queue.remove(idx))
    }

    /// A silent rank may only be waiting for another: who is at the end of the chain?
    fn whom_all_wait_for(&self, rank: usize) -> usize {
        let next = |rank: &usize| self.waits_for[*rank];
        std::iter::successors(Some(rank), next).take(self.left.len()).last().unwrap_or(rank)
    }
}
