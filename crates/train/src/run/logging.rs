//! When something is recorded in the logs or reported to the observer.

use super::training::Training;
use crate::folder::Record;
use crate::progress::Progress;
use crate::stuck::Stuck;
use crate::{Error, Result};
use evaluate::observe::{StepReport, ValidationReport};
use evaluate::{Score, Tally};
use std::ops::ControlFlow;

impl Training<'_> {
    /// Each step up to this one has a line of metrics; later, every tenth.
    const EVERY_STEP_UNTIL: u64 = 100;
    /// Statistics of layers are computed in the first step and at this interval.
    const STATS_EVERY: u64 = 100;

    /// Notes if there is nothing to do.
    pub(super) fn note_if_over(&mut self) {
        if self.is_over() {
            self.observer.note(if self.has_stopped_improving() {
                "the run has stopped early: raise recipe.early-stopping.patience for more epochs"
            } else {
                "all steps are done: raise the number of epochs or steps for more"
            });
        }
    }

    /// Records the current step, if it is due.
    pub(super) fn record_step(&mut self, rate: f64) -> Result<()> {
        let step = self.progress.step;
        if step <= Self::EVERY_STEP_UNTIL || step.is_multiple_of(10) || step == self.steps() {
            self.record(rate)?;
        }
        if Self::fills_stats(step) {
            let (epoch, layers) = (self.progress.epoch, self.stats.layers.clone());
            self.folder.record(&Record::Layers { step, epoch, layers })?;
            if let Some(tensor) = self.stats.not_finite() {
                return Err(Error::NotFinite { step, tensor });
            }
        }
        self.warn_if_stuck()
    }

    /// Whether a step computes the statistics of layers.
    pub(super) fn fills_stats(step: u64) -> bool {
        step == 1 || step.is_multiple_of(Self::STATS_EVERY)
    }

    fn record(&mut self, rate: f64) -> Result<()> {
        let sums = std::mem::take(&mut self.progress.unrecorded);
        let Score { loss, top1_error, .. } = sums.tally.score();
        self.folder.record(&Record::Train {
            step: self.progress.step,
            epoch: self.progress.epoch,
            loss,
            top1_error,
            rate,
            images_per_s: sums.images_per_s(),
            data_wait: sums.data_wait(),
        })
    }

    fn warn_if_stuck(&mut self) -> Result<()> {
        let patience = Stuck::patience(self.steps());
        let loss = self.progress.recent.score().loss;
        let text = self.progress.stuck.see(loss, self.shape.classes, patience);
        let Some(text) = text else { return Ok(()) };
        self.observer.note(&format!("WARNING: {text}"));
        self.folder.record(&Record::Warning { step: self.progress.step, text })
    }

    /// Reports remarks about the images that were read, once.
    pub(super) fn report_remarks(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.has_remarked, true) {
            return Ok(());
        }
        let mut remarks = self.train.source().remarks();
        remarks.extend(self.validation.source().remarks());
        remarks.dedup();
        for text in remarks {
            self.observer.note(&text);
            self.folder.record(&Record::Warning { step: self.progress.step, text })?;
        }
        Ok(())
    }

    pub(super) fn record_observers_warning(&mut self) -> Result<()> {
        let Some(text) = self.observer.take_warning() else { return Ok(()) };
        self.folder.record(&Record::Warning { step: self.progress.step, text })
    }

    /// Reports the current step to the observer.
    pub(super) fn report(&mut self, rate: f64) -> ControlFlow<()> {
        let (steps, epochs) = (self.steps(), self.epochs());
        let Progress { step, epoch, recent, .. } = self.progress;
        let epochs_left = f64::from(epochs.saturating_sub(epoch) / self.job.validate_every + 1);
        let steps_left = (steps - step) as f64;
        let Score { loss, top1_error, .. } = recent.score();
        self.observer.step(&StepReport {
            step,
            steps,
            epoch,
            epochs,
            loss,
            top1_error,
            rate,
            images_per_s: recent.images_per_s(),
            data_wait: recent.data_wait(),
            eta_s: steps_left * recent.seconds_a_step() + epochs_left * self.validation_seconds,
        })
    }

    /// Whether the last validation is the best so far.
    fn is_best(&self) -> bool {
        let Progress { step, best, early_stopping, .. } = &self.progress;
        match self.job.recipe.early_stopping {
            Some(_) => early_stopping.best.is_some_and(|best| best.step == *step),
            None => best.is_some_and(|(at, _)| at == *step),
        }
    }

    /// Records and reports a validation.
    pub(super) fn record_validation(
        &mut self,
        score: Score,
        steps_since: Tally,
    ) -> Result<ControlFlow<()>> {
        let Progress { step, epoch, .. } = self.progress;
        let (epochs, seconds) = (self.epochs(), self.seconds());
        self.status.validation = Some(score);
        self.status.early_stopping = self.best_weights();
        self.folder.record(&Record::Validation { step, epoch, score, seconds })?;
        self.folder.status(self.status)?;
        let Score { loss: train_loss, top1_error: train_top1_error, .. } = steps_since.score();
        let is_best = self.is_best();
        Ok(self.observer.validation(&ValidationReport {
            step,
            epoch,
            epochs,
            score,
            train_loss,
            train_top1_error,
            is_best,
            seconds,
        }))
    }
}
