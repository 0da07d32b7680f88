//! Reports of a run while it goes on.

use crate::metrics::Score;
use data::Stalled;
use std::ops::ControlFlow;

/// Receives the reports of a run. Called on the computing thread: return quickly.
///
/// [`ControlFlow::Break`] ends the run: after this step, or after the next where other processes
/// must learn of it. A checkpoint and weights are written, and `run.json` says `stopped-early`.
pub trait Observer: Send {
    /// A training step is done.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// `what` goes through images (`validation`, `test`, `search`) and has seen `done` of `of`.
    fn seen(&mut self, what: &str, done: u64, of: u64) {
        let _ = (what, done, of);
    }

    /// A validation is done.
    fn validation(&mut self, report: &ValidationReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// The run waits for an image that does not come.
    fn stalled(&mut self, stalled: &Stalled) {
        self.note(&stalled.to_string());
    }

    /// Something to say once.
    fn note(&mut self, text: &str) {
        let _ = text;
    }

    /// What the run's own log should keep, once: that progress can no longer be shown, say. Asked
    /// after every step.
    fn take_warning(&mut self) -> Option<String> {
        None
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Where a run stands after a step. Means and rates are over about the last twenty steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done.
    pub step: u64,
    /// Steps that this run will make.
    pub steps: u64,
    /// The epoch, counted from one.
    pub epoch: u32,
    /// Epochs that this run will make.
    pub epochs: u32,
    /// Mean loss.
    pub loss: f64,
    /// Share of training images not recognised.
    pub top1_error: f64,
    /// Learning rate of a layer with no rate of its own.
    pub rate: f64,
    /// Images a second.
    pub images_per_s: f64,
    /// Share of the time spent waiting for images.
    pub data_wait: f64,
    /// Seconds until the end, validations included.
    pub eta_s: f64,
}

/// A validation's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidationReport {
    /// Steps done.
    pub step: u64,
    /// The epoch, counted from one.
    pub epoch: u32,
    /// Epochs that this run will make.
    pub epochs: u32,
    /// Means over the validation set.
    pub score: Score,
    /// Mean training loss of the steps since the last validation.
    pub train_loss: f64,
    /// Seconds since training began.
    pub seconds: f64,
}
