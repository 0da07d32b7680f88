//! The batches that circulate between the workers and the caller.

use super::batch::{Filling, Scratch};
use super::sampling::ByClass;
use super::stall::ReadClock;
use super::{Batch, LoaderPlan};
use crate::{Error, Result, Source};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The result of filling a batch: the unreadable images, and the error if the batch failed.
type Filled = (Vec<(u32, Error)>, Result<()>);

/// A batch to fill, its sequence number over all epochs, and the generation it belongs to.
struct FillJob {
    batch: Batch,
    sequence: u64,
    generation: u64,
}

struct RingState {
    empty: Vec<Batch>,
    /// Full batches, at the index given by [`slot`](RingState::slot).
    full: Vec<Option<(Batch, Filled)>>,
    /// The number of batches that workers are filling.
    filling: usize,
    /// The next sequence numbers to fill and to hand out.
    to_fill: u64,
    to_take: u64,
    /// The number of restarts; batches of earlier generations are discarded.
    generation: u64,
    stop: bool,
    /// The number of workers that have ended.
    ended: usize,
}

impl RingState {
    /// The slot of a full batch. The sequence numbers in progress are consecutive and at most as
    /// many as there are batches, so that no two share a slot.
    fn slot(&mut self, sequence: u64) -> &mut Option<(Batch, Filled)> {
        let slots = self.full.len() as u64;
        &mut self.full[(sequence % slots) as usize]
    }
}

pub(super) struct Ring {
    state: Mutex<RingState>,
    /// Signals workers: an empty batch, or the stop.
    work: Condvar,
    /// Signals the caller: a full batch, or the end of a worker.
    filled: Condvar,
    /// The current read of each worker.
    pub(super) clocks: Vec<ReadClock>,
    /// The number of batches, if it is finite.
    end: Option<u64>,
}

impl Ring {
    /// How often a waiting caller checks for stalls.
    const TICK: Duration = Duration::from_millis(50);

    pub(super) fn new(
        batches: impl Iterator<Item = Batch>,
        end: Option<u64>,
        workers: usize,
    ) -> Ring {
        let empty: Vec<Batch> = batches.collect();
        let state = RingState {
            full: empty.iter().map(|_| None).collect(),
            empty,
            filling: 0,
            to_fill: 0,
            to_take: 0,
            generation: 0,
            stop: false,
            ended: 0,
        };
        let clocks = (0..workers).map(|_| ReadClock::new()).collect();
        let (work, filled) = (Condvar::new(), Condvar::new());
        Ring { state: Mutex::new(state), work, filled, clocks, end }
    }

    fn lock(&self) -> MutexGuard<'_, RingState> {
        // The only panic under this lock is the assertion in `take`, which leaves the state valid.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_past_end(&self, sequence: u64) -> bool {
        self.end.is_some_and(|end| sequence >= end)
    }

    /// For a worker: an empty batch and its sequence number. `None`: the worker ends.
    fn begin(&self) -> Option<FillJob> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if !self.is_past_end(state.to_fill) {
                // Under the same lock, so that the next batch due always has a worker.
                if let Some(batch) = state.empty.pop() {
                    let (sequence, generation) = (state.to_fill, state.generation);
                    state.to_fill += 1;
                    state.filling += 1;
                    return Some(FillJob { batch, sequence, generation });
                }
            }
            state = self.work.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn finish(&self, job: FillJob, filled: Filled) {
        let mut state = self.lock();
        state.filling -= 1;
        if job.generation == state.generation {
            *state.slot(job.sequence) = Some((job.batch, filled));
            self.filled.notify_all();
        } else {
            state.empty.push(job.batch);
            self.work.notify_one();
        }
    }

    /// For the caller: the next batch, once it is full. `None` after the last batch, or if `wait`,
    /// which is called several times a second meanwhile, returns `false`.
    ///
    /// # Errors
    /// The errors of `wait`.
    pub(super) fn take(
        &self,
        mut wait: impl FnMut() -> Result<bool>,
    ) -> Result<Option<(Batch, Filled)>> {
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
            let coming = state.filling + state.empty.len();
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

    /// Continues with another sequence number.
    pub(super) fn restart(&self, sequence: u64) {
        let mut state = self.lock();
        state.generation += 1;
        (state.to_fill, state.to_take) = (sequence, sequence);
        let RingState { empty, full, .. } = &mut *state;
        empty.extend(full.iter_mut().filter_map(Option::take).map(|(batch, _)| batch));
        self.work.notify_all();
    }

    pub(super) fn ready(&self) -> usize {
        self.lock().full.iter().flatten().count()
    }

    /// Stops the workers and waits until they have ended, except for those that have been reading
    /// one image for longer than `grace`. Returns whether all have ended.
    pub(super) fn stop(&self, grace: Duration) -> bool {
        let mut state = self.lock();
        state.stop = true;
        self.work.notify_all();
        loop {
            let stuck = self.clocks.iter().filter_map(ReadClock::waited);
            let stuck = stuck.filter(|&waited| waited >= grace).count();
            if state.ended + stuck >= self.clocks.len() {
                return state.ended == self.clocks.len();
            }
            let woken = self.filled.wait_timeout(state, Self::TICK);
            state = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// Counts a worker as ended when it is dropped, even by a panic.
struct EndGuard<'a>(&'a Ring);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().ended += 1;
        self.0.filled.notify_all();
    }
}

/// What all workers read.
pub(super) struct Work {
    pub(super) source: Arc<dyn Source>,
    pub(super) plan: LoaderPlan,
    pub(super) by_class: ByClass,
    pub(super) mean: Option<Arc<[u8]>>,
}

/// The main loop of a worker.
pub(super) fn work(ring: &Ring, number: usize, work: &Work) {
    let _guard = EndGuard(ring);
    let Work { source, plan, by_class, mean } = work;
    let (source, mean, clock) = (&**source, mean.as_deref(), &ring.clocks[number]);
    let filling = Filling { source, plan, by_class, mean, clock };
    let mut scratch = Scratch::default();
    let batches = plan.batches(source.len()) as u64;
    while let Some(mut job) = ring.begin() {
        let position = ((job.sequence / batches) as u32, (job.sequence % batches) as usize);
        let mut bad = Vec::new();
        // The caller must receive a panic as an error, or it would wait forever.
        let filled = catch_unwind(AssertUnwindSafe(|| {
            job.batch.fill(filling, position, &mut scratch, &mut bad)
        }));
        clock.end();
        let filled = filled.unwrap_or_else(|panic| {
            scratch = Scratch::default();
            let at = clock.image();
            let name = catch_unwind(AssertUnwindSafe(|| source.name(at)));
            let name = name.unwrap_or_else(|_| format!("image {at}"));
            Err(Error::Panic { name, message: message_of(&*panic) })
        });
        ring.finish(job, (bad, filled));
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
