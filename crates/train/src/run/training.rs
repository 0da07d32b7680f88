//! A run in progress, and how far it has come.

use super::job::Job;
use crate::Result;
use crate::checkpoint::{Checkpoint, Desk, Form, Identity, Saver, Store};
use crate::executor::{Control, Executor};
use crate::folder::{RunFolder, Status};
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
use weights::Weights;

/// A run in progress.
pub(super) struct Training<'a> {
    /// Absent in a process whose run another writes down. Dropped first: when the executor is gone
    /// the other processes end, and a launcher may then end this one.
    pub(super) saver: Option<Saver>,
    pub(super) job: &'a Job,
    pub(super) executor: Box<dyn Executor>,
    pub(super) shape: BatchShape,
    pub(super) train: Loader,
    pub(super) validation: Loader,
    pub(super) folder: &'a mut RunFolder,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) stop: &'a Stop,
    pub(super) status: &'a mut Status,
    pub(super) progress: Progress,
    pub(super) stats: LayerStats,
    /// What all processes said with the last step.
    pub(super) control: Control,
    /// Whoever watches has seen enough.
    pub(super) wants_end: bool,
    /// What its images gave cause to report has been reported.
    pub(super) has_remarked: bool,
    /// A checkpoint is due, and waits until the one before has been written.
    pub(super) due: bool,
    /// When the last was taken, and how far the run had come.
    pub(super) saved: Instant,
    pub(super) saved_at: Option<(u64, u32, usize)>,
    pub(super) began: Instant,
    /// Seconds of training before this process.
    pub(super) before: f64,
    /// Of this process.
    pub(super) all: Sums,
    /// What a step of it sends.
    pub(super) exchanged: Option<Traffic>,
    pub(super) validation_seconds: f64,
    /// Seconds in which this thread wrote logs and copied snapshots instead of training.
    pub(super) bookkeeping: f64,
}

impl<'a> Training<'a> {
    /// Ready for its first step, or for the one after its checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the checkpoint is another network's; [`Error::File`];
    /// [`Error::Device`].
    pub(super) fn new(
        job: &'a Job,
        executor: Box<dyn Executor>,
        folder: &'a mut RunFolder,
        (observer, stop): (&'a mut dyn Observer, &'a Stop),
        status: &'a mut Status,
        (identity, from): (Identity, Option<Arc<Checkpoint>>),
    ) -> Result<Training<'a>> {
        let shape = executor.batch_shape();
        let mut train = job.training_loader(shape.part);
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
        let saver = saver(job, executor.parameters(), folder, identity)?;
        Ok(Training {
            validation: job.validation_loader(shape.part),
            stats: executor.new_stats(),
            control: Control::default(),
            wants_end: false,
            has_remarked: false,
            due: false,
            saved: Instant::now(),
            saved_at: from.map(|from| from.progress.place()),
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
            saver,
        })
    }

    /// Whether a signal or whoever watches has asked for the end.
    pub(super) fn is_stopped(&self) -> bool {
        let ends = if self.executor.is_alone() { self.wants_end } else { self.control.ends };
        ends || self.stop.requested().is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_last() && self.progress.is_validated()
    }

    /// Whether no step is left to be made.
    pub(super) fn is_last(&self) -> bool {
        self.progress.step >= self.steps() || self.progress.reached
    }

    /// Whether the training error since the last validation is what the recipe waits for.
    pub(super) fn is_low_enough(&self) -> bool {
        let error = self.progress.unvalidated.score().top1_error;
        self.job.recipe.until.is_some_and(|most| error <= most)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// Epochs that will be begun.
    pub(super) fn epochs(&self) -> u32 {
        let by_steps = self.steps().div_ceil(self.train.batches_per_epoch() as u64);
        self.job.recipe.epochs.min(u32::try_from(by_steps).unwrap_or(u32::MAX))
    }

    /// Steps that will have been made at the end: never fewer than have been.
    pub(super) fn steps(&self) -> u64 {
        let all = u64::from(self.job.recipe.epochs) * self.train.batches_per_epoch() as u64;
        self.job.max_steps.unwrap_or(all).min(all).max(self.progress.step)
    }

    /// Does something that is no training, and counts its seconds.
    pub(super) fn aside<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let done = work(self);
        self.bookkeeping += began.elapsed().as_secs_f64();
        done
    }
}

/// The thread that writes, where something is kept.
fn saver(
    job: &Job,
    parameters: &[Parameter],
    folder: &RunFolder,
    identity: Identity,
) -> Result<Option<Saver>> {
    let Some(log) = folder.log() else { return Ok(None) };
    let (about, mean, entries) = (job.about(), job.mean(), parameters.to_vec());
    Ok(Some(Saver::start(Desk {
        store: Store::open(folder.path(), job.checkpoints.keep)?,
        form: Form { about, identity, mean, entries },
        logs: log.handles()?,
        weights: folder.path().join(Weights::FILE),
    })))
}
