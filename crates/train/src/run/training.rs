//! A run in progress.

use super::batch_memory::BatchMemory;
use super::job::Job;
use super::restore::restore_best;
use crate::Result;
use crate::checkpoint::{Checkpoint, CheckpointWriter, Identity, RunMetadata, Store, WriterThread};
use crate::executor::{Control, Executor};
use crate::folder::{RunFolder, Status};
use crate::optimizer::UpdateRule;
use crate::progress::{Progress, Sums};
use crate::stats::LayerStats;
use data::Loader;
use evaluate::BatchShape;
use evaluate::Stop;
use evaluate::observe::Observer;
use layers::Parameter;
use std::sync::Arc;
use std::time::Instant;
use tensor::Traffic;
use weights::{Values, Weights};

/// A run in progress.
pub(super) struct Training<'a> {
    /// `None` in processes that write no checkpoints. Dropped first: dropping the executor ends the
    /// other processes, and a launcher may then kill this one.
    pub(super) writer: Option<WriterThread>,
    pub(super) job: &'a Job,
    /// Dropped before the executor, which may have lent the memory of batches.
    pub(super) train: Loader,
    pub(super) executor: Box<dyn Executor>,
    pub(super) shape: BatchShape,
    pub(super) validation: Loader,
    pub(super) folder: &'a mut RunFolder,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) stop: &'a Stop,
    pub(super) status: &'a mut Status,
    pub(super) progress: Progress,
    pub(super) stats: LayerStats,
    /// The control flags of the last step, which hold for all processes.
    pub(super) control: Control,
    /// The observer has requested the end.
    pub(super) end_requested: bool,
    /// The remarks about the images have been reported.
    pub(super) has_remarked: bool,
    /// A checkpoint is due, and waits until the previous one has been written.
    pub(super) due: bool,
    /// When the last checkpoint was taken, and the progress at that time.
    pub(super) saved: Instant,
    pub(super) saved_at: Option<(u64, u32, usize)>,
    pub(super) began: Instant,
    /// Seconds of training before this process.
    pub(super) before: f64,
    /// The sums of this process.
    pub(super) all: Sums,
    /// The traffic of one step.
    pub(super) exchanged: Option<Traffic>,
    pub(super) validation_seconds: f64,
    /// Seconds in which this thread wrote logs and copied snapshots instead of training.
    pub(super) bookkeeping: f64,
}

/// Where a run begins.
pub(super) struct Beginning {
    pub(super) identity: Identity,
    pub(super) from: Option<Arc<Checkpoint>>,
}

impl<'a> Training<'a> {
    /// A run before its first step, or before the one after its checkpoint.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File).
    pub(super) fn new(
        job: &'a Job,
        executor: Box<dyn Executor>,
        folder: &'a mut RunFolder,
        observer: &'a mut dyn Observer,
        stop: &'a Stop,
        status: &'a mut Status,
        Beginning { identity, from }: Beginning,
    ) -> Result<Training<'a>> {
        let shape = executor.batch_shape();
        let mean = job.mean_of(from.as_deref());
        let mut memory = BatchMemory::of(&*executor);
        let mut train = job.training_loader(shape.part, &mean, &mut memory);
        memory.note().iter().for_each(|text| observer.note(text));
        let progress = match &from {
            None => Progress::begin(),
            Some(checkpoint) => {
                let Progress { epoch, batches, .. } = checkpoint.progress;
                if batches < train.batches_per_epoch() {
                    train.start_at(epoch - 1, batches)
                } else {
                    train.start_at(epoch, 0) // only its validation is missing
                }
                checkpoint.progress.clone()
            }
        };
        let writer = writer(job, mean, (executor.parameters(), folder), identity)?;
        if from.is_some() && writer.is_some() && job.recipe.early_stopping.is_some() {
            let state = &progress.early_stopping;
            restore_best(folder.path(), state, executor.parameters(), observer)?;
        }
        let training = Training {
            validation: job.validation_loader(shape.part),
            stats: executor.new_stats(),
            control: Control::default(),
            end_requested: false,
            has_remarked: false,
            due: false,
            saved: Instant::now(),
            saved_at: from.map(|from| from.progress.position()),
            began: Instant::now(),
            before: progress.seconds,
            all: Sums::default(),
            exchanged: None,
            validation_seconds: 0.0,
            bookkeeping: 0.0,
            job,
            executor,
            shape,
            train,
            folder,
            observer,
            stop,
            status,
            progress,
            writer,
        };
        if let Some(warmup) = job.recipe.warmup {
            let remark = warmup.remark(training.steps(), training.train.batches_per_epoch());
            remark.iter().for_each(|text| training.observer.note(text));
        }
        Ok(training)
    }

    /// Whether a signal or an observer has requested the end.
    pub(super) fn is_stopped(&self) -> bool {
        let end = if self.executor.is_alone() { self.end_requested } else { self.control.end };
        end || self.stop.requested().is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_last() && self.progress.is_validated()
    }

    /// Whether no step is left.
    pub(super) fn is_last(&self) -> bool {
        self.progress.step >= self.steps() || self.progress.reached || self.has_stopped_improving()
    }

    /// Whether the training error since the last validation is at most the recipe's `until`.
    pub(super) fn is_low_enough(&self) -> bool {
        let error = self.progress.unvalidated.score().top1_error;
        self.job.recipe.until.is_some_and(|max| error <= max)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// The number of epochs that the run will start.
    pub(super) fn epochs(&self) -> u32 {
        let by_steps = self.steps().div_ceil(self.train.batches_per_epoch() as u64);
        self.job.recipe.epochs.min(u32::try_from(by_steps).unwrap_or(u32::MAX))
    }

    /// The number of steps at the end of the run; at least those done so far.
    pub(super) fn steps(&self) -> u64 {
        let all = u64::from(self.job.recipe.epochs) * self.train.batches_per_epoch() as u64;
        self.job.max_steps.unwrap_or(all).min(all).max(self.progress.step)
    }

    /// Does work other than training, and counts its seconds.
    pub(super) fn aside<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let done = work(self);
        self.bookkeeping += began.elapsed().as_secs_f64();
        done
    }
}

/// Starts the writer, unless the folder keeps nothing.
fn writer(
    job: &Job,
    mean: Values,
    (parameters, folder): (&[Parameter], &RunFolder),
    identity: Identity,
) -> Result<Option<WriterThread>> {
    let Some(log) = folder.log() else { return Ok(None) };
    let (about, entries) = (job.about(), parameters.to_vec());
    let state = UpdateRule::of(&job.recipe).state().collect();
    Ok(Some(WriterThread::start(CheckpointWriter {
        store: Store::open(folder.path(), job.checkpoints.keep)?,
        run: RunMetadata { about, identity, mean, entries, state },
        logs: log.handles()?,
        weights: folder.path().join(Weights::FILE),
    })))
}
