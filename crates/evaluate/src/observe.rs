//! Progress reports of a run.

use crate::metrics::Score;
use data::StalledRead;
use std::ops::ControlFlow;

/// Receives the reports of a run. Called on the computing thread: return quickly.
///
/// [`ControlFlow::Break`] ends the run after this step; with several processes, after the next one.
/// The run then writes a checkpoint and its weights, and `run.json` records `stopped-early`.
pub trait Observer: Send {
    /// A training step has finished.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// A pass over images (`what`: `validation`, `test`, `search`) has processed `done` of `total`.
    fn progress(&mut self, what: &str, done: u64, total: u64) {
        let _ = (what, done, total);
    }

    /// `done` of `total` bytes of a file have been written.
    fn bytes(&mut self, what: &str, done: u64, total: u64) {
        let _ = (what, done, total);
    }

    /// A validation has finished.
    fn validation(&mut self, report: &ValidationReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// The run is waiting for a slow read.
    fn stalled(&mut self, stalled: &StalledRead) {
        self.note(&stalled.to_string());
    }

    /// A message to show once.
    fn note(&mut self, text: &str) {
        let _ = text;
    }

    /// Called after every step: returns a new warning for the run's log, if there is one, e.g. that
    /// progress can no longer be shown. Each warning is returned once.
    fn take_warning(&mut self) -> Option<String> {
        None
    }
}

/// An observer that ignores all reports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// A run's progress after a step. Means and rates are over about the last twenty steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The epoch, counted from one.
    pub epoch: u32,
    /// Epochs of the whole run.
    pub epochs: u32,
    /// Mean loss.
    pub loss: f64,
    /// Top-1 error on training images.
    pub top1_error: f64,
    /// The recipe's base learning rate.
    pub rate: f64,
    /// Images per second.
    pub images_per_s: f64,
    /// Share of the time spent waiting for images.
    pub data_wait: f64,
    /// Estimated seconds until the end, including validations.
    pub eta_s: f64,
}

/// A validation's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidationReport {
    /// Steps done.
    pub step: u64,
    /// The epoch, counted from one.
    pub epoch: u32,
    /// Epochs of the whole run.
    pub epochs: u32,
    /// Means over the validation set.
    pub score: Score,
    /// Mean training loss of the steps since the last validation.
    pub train_loss: f64,
    /// Top-1 error on the training images of these steps, each with the weights of its own step.
    pub train_top1_error: f64,
    /// Whether it is the best so far: the one whose weights are kept with early stopping, else the
    /// first with the lowest top-1 error.
    pub is_best: bool,
    /// Seconds since training began.
    pub seconds: f64,
}
