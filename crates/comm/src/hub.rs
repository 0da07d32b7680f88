//! Message queues between ranks, of the same process or of others.

use crate::{Collective, Error, Fate, Result};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages in flight, and free buffers.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<Queues>,
    changed: Condvar,
    /// Signalled when a rank starts to wait, for the thread that receives its messages.
    waits: Condvar,
    empty: Arc<Vec<f32>>,
}

#[derive(Debug)]
struct Queues {
    /// The messages from each sender to each receiver, at index `sender * ranks + receiver`. There
    /// are only a few: searching is linear.
    queues: Vec<Vec<Message>>,
    free: Vec<Arc<Vec<f32>>>,
    /// The ranks that have left, and the rank for which each other one is waiting.
    left: Vec<bool>,
    waits_for: Vec<Option<usize>>,
    /// The first rank that was lost.
    lost: Option<(usize, Fate)>,
}

/// A message from one rank to another.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) tag: Tag,
    pub(crate) signature: Signature,
    pub(crate) floats: Arc<Vec<f32>>,
}

/// Identifies a message between two ranks; collectives and sends are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    is_sent: bool,
    number: u64,
}

impl Tag {
    pub(crate) fn of(collective: &Collective, number: u64) -> Tag {
        Tag {
            is_sent: matches!(collective, Collective::Send { .. } | Collective::Recv { .. }),
            number,
        }
    }
}

/// The properties of a collective in which two ranks must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    name: &'static str,
    floats: usize,
    root: usize,
}

impl Signature {
    pub(crate) fn of(collective: &Collective) -> Signature {
        let (name, floats, root) = match *collective {
            Collective::AllReduce { x } => ("all_reduce", x.len(), 0),
            Collective::ReduceScatter { block, .. } => ("reduce_scatter", block.len(), 0),
            Collective::AllGather { block, .. } => ("all_gather", block.len(), 0),
            Collective::Broadcast { x, root } => ("broadcast", x.len(), root),
            Collective::Send { x, .. } | Collective::Recv { x, .. } => ("send or recv", x.len(), 0),
            Collective::Barrier => ("barrier", 0, 0),
        };
        Signature { name, floats, root }
    }
}

/// The representation in messages between processes.
#[cfg(feature = "mpi")]
impl Tag {
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.is_sent.into(), self.number]
    }

    pub(crate) fn from_words([is_sent, number]: [u64; 2]) -> Tag {
        Tag { is_sent: is_sent != 0, number }
    }
}

/// The representation in messages between processes.
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
        let state = Queues {
            queues: (0..ranks * ranks).map(|_| Vec::with_capacity(32)).collect(),
            free: Vec::with_capacity(32 * ranks),
            left: vec![false; ranks],
            waits_for: vec![None; ranks],
            lost: None,
        };
        let empty = Arc::new(Vec::new());
        Hub { state: Mutex::new(state), changed: Condvar::new(), waits: Condvar::new(), empty }
    }

    /// Ignores poisoning: ranks do not panic while they hold the lock.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` floats with a single owner: the smallest free one that fits, or a new one.
    pub(crate) fn buffer(&self, len: usize) -> Arc<Vec<f32>> {
        let mut state = self.lock();
        let fits = state.free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(idx, _)| idx);
        let found = best.map(|idx| state.free.swap_remove(idx));
        drop(state);
        let mut buffer = found.unwrap_or_else(|| Arc::new(Vec::with_capacity(len)));
        Arc::get_mut(&mut buffer).expect("a free buffer has one owner").resize(len, 0.0);
        buffer
    }

    /// Gives a buffer back; it is free once all readers have done so.
    pub(crate) fn give_back(&self, buffer: Arc<Vec<f32>>) {
        let mut state = self.lock(); // held while counting, so that exactly one owner is the last
        match Arc::strong_count(&buffer) {
            1 => state.free.push(buffer),
            _ => drop(buffer),
        }
    }

    pub(crate) fn reserve(&self, messages: usize, floats: usize) {
        let buffers = (0..messages).map(|_| Arc::new(Vec::with_capacity(floats)));
        self.lock().free.extend(buffers);
    }

    /// The buffer of messages without floats.
    pub(crate) fn empty(&self) -> Arc<Vec<f32>> {
        Arc::clone(&self.empty)
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
    /// [`Error::Lost`], the same for all ranks that notice.
    pub(crate) fn take(
        &self,
        from: usize,
        to: usize,
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
                    let silent = state.end_of_chain(from);
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

    /// Waits for a message from rank `from` to any other, for the thread that sends it. `None` once
    /// the rank has left and all its messages have been sent.
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

    /// Sleeps for `short` while `rank` waits for another; otherwise until it does, at most for
    /// `long`.
    #[cfg(feature = "mpi")]
    pub(crate) fn nap(&self, rank: usize, short: Duration, long: Duration) {
        let state = self.lock();
        let computes = |state: &mut Queues| state.waits_for[rank].is_none() && !state.left[rank];
        let woken = self.waits.wait_timeout_while(state, long, computes);
        let (state, slept) = woken.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if !slept.timed_out() {
            std::thread::sleep(short);
        }
    }

    /// The ranks that have left.
    #[cfg(feature = "mpi")]
    pub(crate) fn left(&self) -> Vec<bool> {
        self.lock().left.clone()
    }

    /// The first rank that was lost.
    #[cfg(feature = "mpi")]
    pub(crate) fn lost(&self) -> Option<(usize, Fate)> {
        self.lock().lost
    }

    /// Records a loss that another process reports.
    #[cfg(feature = "mpi")]
    pub(crate) fn lose(&self, rank: usize, fate: Fate) {
        self.lock().lost.get_or_insert((rank, fate));
        self.changed.notify_all();
    }

    /// Records that a rank has left, and wakes those that wait for it.
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

impl Queues {
    fn find(&mut self, from: usize, to: usize, tag: Tag) -> Option<Message> {
        let queue = &mut self.queues[from * self.left.len() + to];
        let idx = queue.iter().position(|message| message.tag == tag)?;
        Some(queue.remove(idx))
    }

    /// A silent rank may itself be waiting for another: returns the rank at the end of the chain.
    fn end_of_chain(&self, rank: usize) -> usize {
        let next = |rank: &usize| self.waits_for[*rank];
        std::iter::successors(Some(rank), next).take(self.left.len()).last().unwrap_or(rank)
    }
}
