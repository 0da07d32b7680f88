//! The batches that go round between the workers and the caller.

use super::batch::Desk;
use super::{Batch, Plan};
use crate::{Error, Result, Source};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How often a caller who waits is asked whether it still wants to.
const PATIENCE: Duration = Duration::from_millis(50);

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
    /// A batch is full: for the caller.
    filled: Condvar,
    /// Batches in all, if there is an end.
    last: Option<u64>,
}

impl Ring {
    pub(super) fn new(batches: impl Iterator<Item = Batch>, last: Option<u64>) -> Ring {
        let empty: Vec<Batch> = batches.collect();
        let state = State {
            full: empty.iter().map(|_| None).collect(),
            empty,
            in_work: 0,
            to_fill: 0,
            to_take: 0,
            round: 0,
            stop: false,
        };
        Ring { state: Mutex::new(state), work: Condvar::new(), filled: Condvar::new(), last }
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

    /// For the caller: the batch that is due, once it is full. `None`: there are no more, or the
    /// caller would rather not wait.
    pub(super) fn take(&self, give_up: &dyn Fn() -> bool) -> Option<(Batch, Outcome)> {
        let mut state = self.lock();
        loop {
            let due = state.to_take;
            if let Some(batch) = state.slot(due).take() {
                state.to_take += 1;
                return Some(batch);
            }
            if self.is_past_end(due) {
                return None;
            }
            let coming = state.in_work + state.empty.len();
            assert!(coming > 0, "the caller holds all batches of the loader: none is left to fill");
            if give_up() {
                return None;
            }
            let waited = self.filled.wait_timeout(state, PATIENCE);
            (state, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
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

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_all();
    }
}

/// A worker's life.
pub(super) fn work(ring: &Ring, source: &dyn Source, plan: &Plan) {
    let mut desk = Desk::default();
    let batches = plan.batches(source.len()) as u64;
    while let Some(mut task) = ring.begin() {
        let place = ((task.place / batches) as u32, (task.place % batches) as usize);
        let (mut bad, mut at) = (Vec::new(), 0);
        // A panic must reach the caller as an error: a worker that merely vanished would leave it
        // waiting.
        let filled = catch_unwind(AssertUnwindSafe(|| {
            task.batch.fill(source, plan, place, &mut desk, &mut bad, &mut at)
        }));
        let filled = filled.unwrap_or_else(|panic| {
            desk = Desk::default();
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
