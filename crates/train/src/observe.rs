//! What a run tells whoever watches it.

use crate::metrics::{Score, Tally};
use data::Stalled;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Someone who watches a run. Called on the computing thread: be brief.
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

/// Sums in which a step weighs less with every step that follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    tally: Tally,
    seconds: f64,
    wait: f64,
    steps: f64,
}

impl Recent {
    const KEEP: f64 = 0.95;

    pub(crate) fn add(&mut self, step: Tally, seconds: f64, wait: f64) {
        let fade = |sum: &mut f64, term: f64| *sum = *sum * Self::KEEP + term;
        fade(&mut self.tally.loss, step.loss);
        fade(&mut self.tally.top1_errors, step.top1_errors);
        fade(&mut self.tally.images, step.images);
        fade(&mut self.seconds, seconds);
        fade(&mut self.wait, wait);
        fade(&mut self.steps, 1.0);
    }

    pub(crate) fn score(&self) -> Score {
        self.tally.score()
    }

    pub(crate) fn images_per_s(&self) -> f64 {
        self.tally.images / self.seconds.max(1e-9)
    }

    pub(crate) fn data_wait(&self) -> f64 {
        self.wait / self.seconds.max(1e-9)
    }

    pub(crate) fn seconds_a_step(&self) -> f64 {
        self.seconds / self.steps.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_follows_a_change() {
        let mut recent = Recent::default();
        let step =
            |loss: f64| Tally { loss: 8.0 * loss, top1_errors: 4.0, top5_errors: 0.0, images: 8.0 };
        (0..100).for_each(|_| recent.add(step(2.0), 0.5, 0.1));
        assert!((recent.score().loss - 2.0).abs() < 1e-9);
        assert!((recent.images_per_s() - 16.0).abs() < 1e-9);
        assert!((recent.data_wait() - 0.2).abs() < 1e-9);
        assert!((recent.seconds_a_step() - 0.5).abs() < 1e-9);
        (0..100).for_each(|_| recent.add(step(1.0), 0.5, 0.1));
        assert!((recent.score().loss - 1.0).abs() < 0.01);
    }
}
