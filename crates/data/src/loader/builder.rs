//! From settings to a loader with running threads.

use super::pixels::MakeMemory;
use super::ring::{self, Ring, Work};
use super::sampling::ByClass;
use super::{Batch, IGNORED, Loader, LoaderMode, LoaderPlan, ReadTimeouts, StallNotices};
use crate::parallel::thread_count;
use crate::{Error, Result, Source};
use augment::ColorShift;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings of a [`Loader`] before its threads start.
#[must_use = "`build` starts the loader"]
pub struct LoaderBuilder {
    source: Arc<dyn Source>,
    plan: LoaderPlan,
    mean: Option<Arc<[u8]>>,
    color: Option<ColorShift>,
    timeouts: ReadTimeouts,
    workers: usize,
    depth: usize,
}

impl LoaderBuilder {
    pub(super) fn new(source: Arc<dyn Source>, plan: LoaderPlan) -> LoaderBuilder {
        let timeouts = ReadTimeouts::default();
        LoaderBuilder { source, plan, mean: None, color: None, timeouts, workers: 0, depth: 0 }
    }

    /// The number of threads that read images; 0, the default, for one per core.
    pub fn workers(self, workers: usize) -> LoaderBuilder {
        LoaderBuilder { workers, ..self }
    }

    /// The number of batches that are filled ahead of the caller; 0, the default, for two more than
    /// there are workers.
    pub fn depth(self, depth: usize) -> LoaderBuilder {
        LoaderBuilder { depth, ..self }
    }

    /// The mean image of the source's size, rounded to bytes ([`mean_bytes`](crate::mean_bytes)),
    /// to which pixels are erased by [`augment::EraseFill::Mean`].
    pub fn mean(self, mean: Arc<[u8]>) -> LoaderBuilder {
        LoaderBuilder { mean: Some(mean), ..self }
    }

    /// The colour shift; there is none by default. [`Loader::set_color`] changes it.
    pub fn color(self, color: ColorShift) -> LoaderBuilder {
        LoaderBuilder { color: Some(color), ..self }
    }

    /// The time limits of a read. [`Loader::set_timeouts`] changes them.
    pub fn timeouts(self, timeouts: ReadTimeouts) -> LoaderBuilder {
        LoaderBuilder { timeouts, ..self }
    }

    /// Starts the threads, with the first batch of epoch 0. Batches have ordinary memory.
    ///
    /// # Errors
    /// As [`build_in`](Self::build_in).
    pub fn build(self) -> Result<Loader> {
        self.build_in(&mut |_| None)
    }

    /// Starts the threads, with the first batch of epoch 0. The images of each batch lie in memory
    /// that `make` returns for their number of bytes, or in ordinary memory if that is `None`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the source is empty, the crop is larger than its images, a batch has
    /// fewer rows than an image has views, views of one image would be mixed, or pixels are erased
    /// to the mean and the mean is missing or has another size.
    ///
    /// # Panics
    /// If `make` returns fewer or more bytes.
    pub fn build_in(self, make: MakeMemory<'_>) -> Result<Loader> {
        self.check().map_err(Error::Argument)?;
        let LoaderBuilder { source, plan, mean, color, timeouts, workers, depth } = self;
        let workers = thread_count(workers);
        let depth = if depth == 0 { workers + 2 } else { depth };
        let end = (plan.mode == LoaderMode::Testing).then(|| plan.batches(source.len()) as u64);
        let batches = (0..depth).map(|_| Batch::new(&plan, make));
        let ring = Arc::new(Ring::new(batches, end, workers));
        let by_class = ByClass::new(&*source, plan.sampling);
        let work = Arc::new(Work { source: source.clone(), plan, by_class, mean });
        let workers = (0..workers)
            .map(|number| {
                let (ring, work) = (ring.clone(), work.clone());
                std::thread::Builder::new()
                    .name(format!("loader-{number}"))
                    .spawn(move || ring::work(&ring, number, &work))
                    .expect("a thread can be started")
            })
            .collect();
        let (bad, notices) = (BTreeMap::new(), StallNotices::default());
        let has_ended = false;
        Ok(Loader { source, plan, color, bad, timeouts, notices, ring, workers, has_ended })
    }

    /// Why these settings contradict each other, if they do.
    fn check(&self) -> std::result::Result<(), String> {
        let (source, plan) = (&self.source, &self.plan);
        let (size, crop) = (source.size(), plan.crop);
        if source.is_empty() {
            return Err("a source without images".to_string());
        }
        if source.len() >= IGNORED as usize {
            return Err(format!("{} images: too many to number", source.len()));
        }
        if crop.0 > size.0 || crop.1 > size.1 {
            return Err(format!("a crop of {crop:?} pixels does not fit images of {size:?}"));
        }
        if plan.images_per_batch() == 0 {
            return Err(format!("{} rows cannot hold the views of an image", plan.rows));
        }
        if plan.is_mixing() && plan.views_per_image() > 1 {
            return Err("views of one image are not mixed".to_string());
        }
        let bytes = size.0 * size.1 * 3;
        if plan.needs_mean() && self.mean.as_ref().is_none_or(|mean| mean.len() != bytes) {
            return Err(format!("erasing with the mean needs a mean image of {size:?}"));
        }
        Ok(())
    }
}
