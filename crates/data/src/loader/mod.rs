//! Batches, made ahead of time by threads of their own.
//!
//! A fixed number of batches go round: a worker takes an empty one together with the next place in
//! the order, fills it, and puts it among the full ones; the loader hands these out in order; when
//! the caller drops one it is empty again. So no memory is allocated after the first round, workers
//! wait when the caller is slow, and what a batch holds is a function of the plan and its place:
//! never of the number of workers, the number of batches in the ring, or time.

mod batch;
mod plan;
mod ring;

pub use batch::{Batch, IGNORED};
pub use plan::{Pass, Plan, Views};

use crate::parallel::thread_count;
use crate::{Error, Result, Source};
use augment::ColorShift;
use ring::Ring;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::JoinHandle;

/// How many images of a set may be unreadable before a loader gives up: one in a thousand, but at
/// least ten.
pub fn bad_limit(len: usize) -> usize {
    (len / 1000).max(10)
}

/// Threads that read, crop and lay images side by side, and the batches that they fill.
pub struct Loader {
    source: Arc<dyn Source>,
    plan: Plan,
    color: Option<ColorShift>,
    bad: BTreeMap<u32, Error>,
    ring: Arc<Ring>,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts `workers` threads (0: one for each core) that fill `depth` batches ahead of the
    /// caller (0: two more than there are workers), from the first batch of epoch 0 on.
    ///
    /// # Panics
    /// If the source is empty, the crop does not fit its images, or a batch has no room for an
    /// image.
    pub fn new(source: Arc<dyn Source>, plan: Plan, workers: usize, depth: usize) -> Loader {
        let (size, crop) = (source.size(), plan.crop);
        assert!(!source.is_empty(), "a source without images");
        assert!(source.len() < IGNORED as usize, "{} images: too many to number", source.len());
        assert!(
            crop.0 <= size.0 && crop.1 <= size.1,
            "a crop of {crop:?} pixels does not fit images of {size:?}"
        );
        assert!(plan.images_per_batch() > 0, "{} rows hold no image's views", plan.rows);
        let workers = thread_count(workers);
        let depth = if depth == 0 { workers + 2 } else { depth };
        let last = (plan.pass == Pass::Testing).then(|| plan.batches(source.len()) as u64);
        let ring = Arc::new(Ring::new((0..depth).map(|_| Batch::new(&plan)), last));
        let workers = (0..workers)
            .map(|number| {
                let (ring, source) = (ring.clone(), source.clone());
                std::thread::Builder::new()
                    .name(format!("loader-{number}"))
                    .spawn(move || ring::work(&ring, &*source, &plan))
                    .expect("a thread can be started")
            })
            .collect();
        Loader { source, plan, color: None, bad: BTreeMap::new(), ring, workers }
    }

    /// The next batch, waiting for it if need be; `None` after the last one of a test.
    ///
    /// The batch goes back to the ring when it is dropped.
    ///
    /// # Errors
    /// If more than [`bad_limit`] images could not be read, if nothing was found to replace one of
    /// them, or if a worker panicked. The loader can be asked again: it goes on with the batch
    /// after.
    ///
    /// # Panics
    /// If the caller holds all batches of the ring, so that none could ever come.
    pub fn next_batch(&mut self) -> Result<Option<Loaded>> {
        self.next_batch_unless(&|| false)
    }

    /// [`next_batch`](Self::next_batch), or `None` once `give_up` says so: it is asked while the
    /// batch is waited for, twenty times a second.
    ///
    /// # Errors
    /// As `next_batch`.
    ///
    /// # Panics
    /// As `next_batch`.
    pub fn next_batch_unless(&mut self, give_up: &dyn Fn() -> bool) -> Result<Option<Loaded>> {
        let Some((batch, (bad, filled))) = self.ring.take(give_up) else {
            return Ok(None);
        };
        let mut loaded = Loaded { batch, ring: self.ring.clone() };
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

    /// Goes on from batch `batch` of epoch `epoch`, at no cost but that of the batches made in
    /// vain.
    ///
    /// After this the loader delivers what it would have delivered on the way there. A test starts
    /// over with `start_at(0, 0)`.
    ///
    /// # Panics
    /// If an epoch has no such batch.
    pub fn start_at(&mut self, epoch: u32, batch: usize) {
        let batches = self.batches_per_epoch();
        assert!(batch < batches, "batch {batch} of an epoch of {batches}");
        self.ring.restart(u64::from(epoch) * batches as u64 + batch as u64);
    }

    /// Shifts colours from the next batch on; `None` (as at the start): no more.
    pub fn set_color(&mut self, color: Option<ColorShift>) {
        self.color = color;
    }

    /// Batches in an epoch; the last may be short.
    pub fn batches_per_epoch(&self) -> usize {
        self.plan.batches(self.source.len())
    }

    /// The plan it follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where its images come from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The images met so far that could not be read, and why.
    pub fn bad(&self) -> &BTreeMap<u32, Error> {
        &self.bad
    }

    /// How many batches lie ready: none means that the next call to
    /// [`next_batch`](Self::next_batch) will wait.
    pub fn ready(&self) -> usize {
        self.ring.ready()
    }
}

impl Drop for Loader {
    /// Waits for the workers to finish the images at hand.
    fn drop(&mut self) {
        self.ring.stop();
        for worker in self.workers.drain(..) {
            // A worker catches panics of its own; there is nothing left to report here.
            let _ = worker.join();
        }
    }
}

/// A batch on loan from a loader's ring.
pub struct Loaded {
    batch: Batch,
    ring: Arc<Ring>,
}

impl Deref for Loaded {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl DerefMut for Loaded {
    fn deref_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.ring.give_back(std::mem::take(&mut self.batch));
    }
}

#[cfg(test)]
mod tests;
