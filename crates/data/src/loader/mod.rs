//! Batches, made ahead of time by threads of their own.
//!
//! A fixed number of batches go round: a worker takes an empty one together with the next place in
//! the order, fills it, and puts it among the full ones; the loader hands these out in order; when
//! the caller drops one it is empty again. So no memory is allocated after the first round, workers
//! wait when the caller is slow, and what a batch holds is a function of the plan and its place:
//! never of the number of workers, the number of batches in the ring, or time.
//!
//! A read that does not come back is told while a batch is waited for, and ends the wait in the end
//! ([`Patience`]). Its thread cannot be stopped; a loader that is dropped leaves it behind.

mod batch;
mod patience;
mod plan;
mod ring;

pub use batch::{Batch, IGNORED};
pub use patience::{Patience, Stalled};
pub use plan::{Pass, Plan, Views};

use crate::parallel::thread_count;
use crate::{Error, Result, Source};
use augment::ColorShift;
use patience::Told;
use ring::Ring;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

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
    patience: Patience,
    told: Told,
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
        let ring = Arc::new(Ring::new((0..depth).map(|_| Batch::new(&plan)), last, workers));
        let workers = (0..workers)
            .map(|number| {
                let (ring, source) = (ring.clone(), source.clone());
                std::thread::Builder::new()
                    .name(format!("loader-{number}"))
                    .spawn(move || ring::work(&ring, number, &*source, &plan))
                    .expect("a thread can be started")
            })
            .collect();
        let (bad, patience, told) = (BTreeMap::new(), Patience::default(), Told::default());
        Loader { source, plan, color: None, bad, patience, told, ring, workers }
    }

    /// The next batch, waiting for it if need be; `None` after the last one of a test.
    ///
    /// The batch goes back to the ring when it is dropped.
    ///
    /// # Errors
    /// If more than [`bad_limit`] images could not be read, if nothing was found to replace one of
    /// them, if a read did not come back within the [`Patience`], or if a worker panicked. The
    /// loader can be asked again: it goes on with the batch after, or waits for the same one.
    ///
    /// # Panics
    /// If the caller holds all batches of the ring, so that none could ever come.
    pub fn next_batch(&mut self) -> Result<Option<Loaded>> {
        self.next_batch_watched(&mut |_| true)
    }

    /// As [`next_batch`](Self::next_batch). While it waits, it asks `watch` some times a second
    /// whether to go on, and tells it of a read that takes long; if `watch` says `false`, there is
    /// `None`.
    ///
    /// # Errors
    /// As above.
    pub fn next_batch_watched(
        &mut self,
        watch: &mut dyn FnMut(Option<&Stalled>) -> bool,
    ) -> Result<Option<Loaded>> {
        let (ring, source, told) = (&self.ring, &self.source, &mut self.told);
        let Patience { notice, limit } = self.patience;
        let taken = ring.take(|| {
            let hands = ring.hands.iter().filter_map(|hand| Some((hand.waited()?, hand.image())));
            let stalled = match hands.max() {
                Some((waited, image)) if waited >= limit => {
                    let seconds = waited.as_secs();
                    return Err(Error::Stalled { name: source.name(image), seconds });
                }
                Some((waited, image)) if told.is_due(image, waited, notice) => {
                    Some(Stalled { name: source.name(image), waited, limit })
                }
                _ => None,
            };
            Ok(watch(stalled.as_ref()))
        })?;
        let Some((batch, (bad, filled))) = taken else {
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

    /// Waits for an image as long as this from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
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
    /// Waits for the workers to finish the images at hand, but not for reads that have not come
    /// back for seconds.
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let all = self.ring.stop(PATIENCE);
        for worker in self.workers.drain(..).filter(|worker| all || worker.is_finished()) {
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
