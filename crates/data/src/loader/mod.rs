//! Threads that make batches ahead of time.
//!
//! A fixed number of batches circulates. A worker takes an empty batch and the next sequence
//! number, fills the batch and queues it; the loader returns the full batches in order; a batch
//! that the caller drops is empty again. So no memory is allocated after the first round, and
//! workers block when the caller is slow. The content of a batch is a function of the plan and the
//! sequence number only: it does not depend on the number of workers or batches, or on timing.
//!
//! While the caller waits for a batch, a stalled read is reported, and fails after a limit
//! ([`ReadTimeouts`]). Its thread cannot be stopped; dropping the loader leaks it.

mod batch;
mod builder;
mod changes;
mod epoch;
mod mixing;
mod pixels;
mod plan;
mod ring;
mod sampling;
mod stall;

pub use batch::{Batch, IGNORED};
pub use builder::LoaderBuilder;
pub use changes::{Changes, Rotation, mean_bytes};
pub use epoch::Epoch;
pub use pixels::{HostMemory, Pixels};
pub use plan::{CropMode, LoaderMode, LoaderPlan};
pub use sampling::ClassSampling;
pub(crate) use stall::{ReadClock, StallNotices};
pub use stall::{ReadTimeouts, StalledRead};

use crate::{Error, Result, Source};
use augment::ColorShift;
use ring::Ring;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How many images of a set may be unreadable before a loader fails: one in a thousand, but at
/// least ten.
pub fn bad_limit(len: usize) -> usize {
    (len / 1000).max(10)
}

/// Threads that read and crop images in parallel, and the batches that they fill.
pub struct Loader {
    source: Arc<dyn Source>,
    plan: LoaderPlan,
    color: Option<ColorShift>,
    bad: BTreeMap<u32, Error>,
    timeouts: ReadTimeouts,
    notices: StallNotices,
    ring: Arc<Ring>,
    workers: Vec<JoinHandle<()>>,
    /// Whether the last batch that was delivered was the last of an epoch.
    has_ended: bool,
}

impl Loader {
    /// Settings of a loader, whose [`build`](LoaderBuilder::build) starts it and reports settings
    /// that contradict each other.
    pub fn builder(source: Arc<dyn Source>, plan: LoaderPlan) -> LoaderBuilder {
        LoaderBuilder::new(source, plan)
    }

    /// Starts `workers` threads (0: one per core) that fill up to `depth` batches ahead of the
    /// caller (0: two more than workers), starting with the first batch of epoch 0.
    ///
    /// # Panics
    /// If the source is empty, the crop is larger than its images, or a batch has fewer rows than
    /// an image has views.
    pub fn new(source: Arc<dyn Source>, plan: LoaderPlan, workers: usize, depth: usize) -> Loader {
        Loader::with_mean(source, plan, None, workers, depth)
    }

    /// As [`new`](Self::new), with the mean image of the source's size, rounded to bytes, to which
    /// pixels are erased by [`augment::EraseFill::Mean`].
    ///
    /// # Panics
    /// As [`new`](Self::new), and if pixels are erased and the mean has another size or is missing.
    pub fn with_mean(
        source: Arc<dyn Source>,
        plan: LoaderPlan,
        mean: Option<Arc<[u8]>>,
        workers: usize,
        depth: usize,
    ) -> Loader {
        let mut builder = Loader::builder(source, plan).workers(workers).depth(depth);
        if let Some(mean) = mean {
            builder = builder.mean(mean);
        }
        builder.build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The next batch; blocks until it is full. `None` after the last batch of a test.
    ///
    /// Dropping the batch returns it to the ring.
    ///
    /// # Errors
    /// If more than [`bad_limit`] images are unreadable, if no replacement was found for one of
    /// them, if a read exceeds the limit of [`ReadTimeouts`], or if a worker panicked. The loader
    /// can be used again: it continues with the next batch, or waits for the same one.
    ///
    /// # Panics
    /// If the caller holds all batches of the ring, so that none can be filled.
    pub fn next_batch(&mut self) -> Result<Option<LoadedBatch>> {
        self.next_batch_watched(&mut |_| true)
    }

    /// As [`next_batch`](Self::next_batch). While it waits, `watch` is called several times a
    /// second with any stalled read; if it returns `false`, the result is `None`.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn next_batch_watched(
        &mut self,
        watch: &mut dyn FnMut(Option<&StalledRead>) -> bool,
    ) -> Result<Option<LoadedBatch>> {
        let (ring, source, notices) = (&self.ring, &self.source, &mut self.notices);
        let ReadTimeouts { notice, limit } = self.timeouts;
        let taken = ring.take(|| {
            let waits =
                ring.clocks.iter().filter_map(|clock| Some((clock.waited()?, clock.image())));
            let stalled = match waits.max() {
                Some((waited, image)) if waited >= limit => {
                    let seconds = waited.as_secs();
                    return Err(Error::Stalled { name: source.name(image), seconds });
                }
                Some((waited, image)) if notices.is_due(image, waited, notice) => {
                    Some(StalledRead { name: source.name(image), waited, limit })
                }
                _ => None,
            };
            Ok(watch(stalled.as_ref()))
        })?;
        let Some((batch, (bad, filled))) = taken else {
            return Ok(None);
        };
        self.has_ended = batch.position + 1 == self.batches_per_epoch();
        let mut loaded = LoadedBatch { batch, ring: self.ring.clone() };
        self.bad.extend(bad);
        let (count, len) = (self.bad.len(), self.source.len());
        if count > bad_limit(len) {
            let first = self.bad.values().next().expect("more than ten").clone();
            let (limit, first) = (bad_limit(len), Box::new(first));
            return Err(Error::TooManyBad { count, len, limit, first });
        }
        filled?;
        loaded.tint(self.color.as_ref(), self.plan.seed);
        Ok(Some(loaded))
    }

    /// Continues with batch `batch` of epoch `epoch`. Batches made ahead are discarded.
    ///
    /// The loader then delivers the same batches as if it had reached that position. A test starts
    /// over with `start_at(0, 0)`.
    ///
    /// # Panics
    /// If `batch` is not less than [`batches_per_epoch`](Self::batches_per_epoch).
    pub fn start_at(&mut self, epoch: u32, batch: usize) {
        let batches = self.batches_per_epoch();
        assert!(batch < batches, "batch {batch} of an epoch of {batches}");
        self.has_ended = false;
        self.ring.restart(u64::from(epoch) * batches as u64 + batch as u64);
    }

    /// Sets the time limits of a read.
    pub fn set_timeouts(&mut self, timeouts: ReadTimeouts) {
        self.timeouts = timeouts;
    }

    /// Sets the colour shift from the next batch on; `None` (the initial state) disables it.
    pub fn set_color(&mut self, color: Option<ColorShift>) {
        self.color = color;
    }

    /// Batches in an epoch; the last may be partial.
    pub fn batches_per_epoch(&self) -> usize {
        self.plan.batches(self.source.len())
    }

    /// The plan.
    pub fn plan(&self) -> &LoaderPlan {
        &self.plan
    }

    /// The source of the images.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The unreadable images so far, with their errors.
    pub fn bad(&self) -> &BTreeMap<u32, Error> {
        &self.bad
    }

    /// The number of full batches. If it is zero, the next call of
    /// [`next_batch`](Self::next_batch) blocks.
    pub fn ready(&self) -> usize {
        self.ring.ready()
    }
}

impl Drop for Loader {
    /// Waits until the workers have finished their current images, except for reads that have
    /// stalled for seconds.
    fn drop(&mut self) {
        const GRACE: Duration = Duration::from_secs(2);
        let all = self.ring.stop(GRACE);
        for worker in self.workers.drain(..).filter(|worker| all || worker.is_finished()) {
            // Workers catch their panics: nothing is left to report.
            let _ = worker.join();
        }
    }
}

/// A batch borrowed from a loader's ring.
pub struct LoadedBatch {
    batch: Batch,
    ring: Arc<Ring>,
}

impl Deref for LoadedBatch {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl DerefMut for LoadedBatch {
    fn deref_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

impl Drop for LoadedBatch {
    fn drop(&mut self) {
        self.ring.give_back(std::mem::take(&mut self.batch));
    }
}

#[cfg(test)]
mod tests;
