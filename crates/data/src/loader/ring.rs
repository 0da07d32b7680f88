//! The batches that go round between the workers and the caller.

use super::batch::Desk;
use super::patience::AtHand;
use super::{Batch, Plan};
use crate::{Error, Result, Source};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What came of filling a batch: the images that could not be read, and why there is no batch, if
/// there is none.
type Outcome = (Vec<(u32, Error)>, Result<()>);

/// A batch to fill: its place in the order of all epochs, and the start it belongs to.
struct Task {
    batch: Batch,
    place: u64,
    round: u64,
}

struct State {
    empty: Vec<Batch>,
    /// Full batches; [`slot`](State::slot) says where.
    full: Vec<Option<(Batch, Outcome)>>,
    /// Batches that workers are filling.
    in_work: usize,
    /// The next place to fill, and the next to hand out.
    to_fill: u64,
    to_take: u64,
    /// Counts restarts: what was begun before the last one is thrown away.
    round: u64,
    stop: bool,
    /// Workers that have gone home.
    gone: usize,
}

impl State {
    /// Where the batch for a place lies from when it is full until it is handed out. Places under
    /// way follow one another and are no more than there are batches, so no two meet.
    fn slot(&mut self, place: u64) -> &mut Option<(Batch, Outcome)> {
        let slots = self.full.len() as u64;
        &mut self.full[(place % slots) as usize]
    }
}

pub(super) struct Ring {
    state: Mutex<State>,
    /// Something to do, or the end: for workers.
    work: Condvar,
    /// A batch is full, or a worker has gone: for the caller.
    filled: Condvar,
    /// What each worker is reading.
    pub(super) hands: Vec<AtHand>,
    /// Batches in all, if there is an end.
    last: Option<u64>,
}

impl Ring {
    /// How often whoever waits for a batch looks up.
    const TICK: Duration = Duration::from_millis(50);

    pub(super) fn new(
        batches: impl Iterator<Item = Batch>,
        last: Option<u64>,
        workers: usize,
    ) -> Ring {
        let empty: Vec<Batch> = batches.collect();
        let state = State {
            full: empty.iter().map(|_| None).collect(),
            empty,
            in_work: 0,
            to_fill: 0,
            to_take: 0,
            round: 0,
            stop: false,
            gone: 0,
        };
        let hands = (0..workers).map(|_| AtHand::new()).collect();
        let (work, filled) = (Condvar::new(), Condvar::new());
        Ring { state: Mutex::new(state), work, filled, hands, last }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock but the caller's own mistake below, which leaves
        // it whole.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_past_end(&self, place: u64) -> bool {
        self.last.is_some_and(|last| place >= last)
    }

    /// For a worker: an empty batch and the place it is for. `None`: it is time to go.
    fn begin(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if !self.is_past_end(state.to_fill) {
                // Both together, under one lock: the batch that is due next is always in someone's
                // hands.
                if let Some(batch) = state.empty.pop() {
                    let (place, round) = (state.to_fill, state.round);
                    state.to_fill += 1;
                    state.in_work += 1;
                    return Some(Task { batch, place, round });
                }
            }
            state = self.work.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn finish(&self, task: Task, outcome: Outcome) {
        let mut state = self.lock();
        state.in_work -= 1;
        if task.round == state.round {
            *state.slot(task.place) = Some((task.batch, outcome));
            self.filled.notify_all();
        } else {
            state.empty.push(task.batch);
            self.work.notify_one();
        }
    }

    /// For the caller: the batch that is due, once it is full. `None`: there are no more, or
    /// `wait`, which is asked every now and then until it is, said not to go on.
    ///
    /// # Errors
    /// Those of `wait`.
    pub(super) fn take(
        &self,
        mut wait: impl FnMut() -> Result<bool>,
    ) -> Result<Option<(Batch, Outcome)>> {
        let mut state = self.lock();
        loop {
            let due = state.to_take;
            if let Some(batch) = state.slot(due).take() {
                state.to_take += 1;
                return Ok(Some(batch));
            }
            if self.is_past_end(due) {
                return Ok(None);
            }
            let coming = state.in_work + state.empty.len();
            assert!(coming > 0, "the caller holds all batches of the loader: none is left to fill");
            let woken = self.filled.wait_timeout(state, Self::TICK);
            let (next, tick) = woken.unwrap_or_else(std::sync::PoisonError::into_inner);
            state = next;
            if tick.timed_out() {
                drop(state);
                if !wait()? {
                    return Ok(None);
                }
                state = self.lock();
            }
        }
    }

    pub(super) fn give_back(&self, batch: Batch) {
        self.lock().empty.push(batch);
        self.work.notify_one();
    }

    /// Goes on from another place.
    pub(super) fn restart(&self, place: u64) {
        let mut state = self.lock();
        state.round += 1;
        (state.to_fill, state.to_take) = (place, place);
        let State { empty, full, .. } = &mut *state;
        empty.extend(full.iter_mut().filter_map(Option::take).map(|(batch, _)| batch));
        self.work.notify_all();
    }

    pub(super) fn ready(&self) -> usize {
        self.lock().full.iter().flatten().count()
    }

    /// Sends the workers home and waits until they are, but for those that have been reading one
    /// image for longer than `patience`. Returns whether all have gone.
    pub(super) fn stop(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.stop = true;
        self.work.notify_all();
        loop {
            let stuck = self.hands.iter().filter_map(AtHand::waited);
            let stuck = stuck.filter(|&waited| waited >= patience).count();
            if state.gone + stuck >= self.hands.len() {
                return state.gone == self.hands.len();
            }
            let woken = self.filled.wait_timeout(state, Self::TICK);
            state = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// Tells, however a worker ends, that it has.
struct Gone<'a>(&'a Ring);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.lock().gone += 1;
        self.0.filled.notify_all();
    }
}

/// A worker's life.
pub(super) fn work(ring: &Ring, number: usize, source: &dyn Source, plan: &Plan) {
    let _gone = Gone(ring);
    let hand = &ring.hands[number];
    let mut desk = Desk::default();
    let batches = plan.batches(source.len()) as u64;
    while let Some(mut task) = ring.begin() {
        let place = ((task.place / batches) as u32, (task.place % batches) as usize);
        let mut bad = Vec::new();
        // A panic must reach the caller as an error: a worker that merely vanished would leave it
        // waiting.
        let filled = catch_unwind(AssertUnwindSafe(|| {
            task.batch.fill(source, plan, place, &mut desk, &mut bad, hand)
        }));
        hand.end();
        let filled = filled.unwrap_or_else(|panic| {
            desk = Desk::default();
            let at = hand.image();
            let name = catch_unwind(AssertUnwindSafe(|| source.name(at)));
            let name = name.unwrap_or_else(|_| format!("image {at}"));
            Err(Error::Panic { name, message: message_of(&*panic) })
        });
        ring.finish(task, (bad, filled));
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
