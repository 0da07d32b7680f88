//! The progress of a run: with the parameters, the state from which it resumes bit-identically.

use crate::defaults::is_default;
use crate::early_stopping::EarlyStoppingState;
use crate::recent::Recent;
use crate::schedule;
use crate::stuck::Stuck;
use evaluate::{Score, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The progress of a run. Random draws need no further state: each is named by seed, epoch or step,
/// and image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The current epoch, counted from one.
    pub epoch: u32,
    /// The batches of this epoch that are done.
    pub batches: usize,
    /// The state of the schedule.
    pub schedule: schedule::ScheduleState,
    /// The last validation: its step and score.
    pub validation: Option<(u64, Score)>,
    /// The validation with the lowest top-1 error: its step and that error.
    pub best: Option<(u64, f64)>,
    /// The state of early stopping, if the recipe has it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub early_stopping: EarlyStoppingState,
    /// Sums since the last line of metrics.
    pub unrecorded: Sums,
    /// Training losses and errors since the last validation.
    pub unvalidated: Tally,
    /// Whether the training error has reached the recipe's `until`.
    #[serde(default)]
    pub reached: bool,
    /// Means of the last steps, for display.
    pub recent: Recent,
    /// Steps with a loss at chance level.
    pub stuck: Stuck,
    /// Seconds of training so far.
    pub seconds: f64,
    /// The length of each log in bytes; a resumed run truncates them to it.
    pub logs: BTreeMap<String, u64>,
}

/// Sums over several steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Losses and errors.
    pub tally: Tally,
    /// Their time in seconds.
    pub seconds: f64,
    /// Seconds of these spent waiting for images.
    pub wait: f64,
}

impl Sums {
    pub(crate) fn add(&mut self, tally: Tally, seconds: f64, wait: f64) {
        self.tally.add(tally);
        self.seconds += seconds;
        self.wait += wait;
    }

    pub(crate) fn images_per_s(&self) -> f64 {
        self.tally.images / self.seconds.max(1e-9)
    }

    pub(crate) fn data_wait(&self) -> f64 {
        self.wait / self.seconds.max(1e-9)
    }
}

impl Progress {
    /// The progress before the first step.
    pub fn begin() -> Progress {
        Progress { epoch: 1, ..Progress::default() }
    }

    /// Step, epoch and batches, which identify a checkpoint of a run.
    pub(crate) fn position(&self) -> (u64, u32, usize) {
        (self.step, self.epoch, self.batches)
    }

    /// Whether the current weights have been validated.
    pub fn is_validated(&self) -> bool {
        self.validation.is_some_and(|(step, _)| step == self.step)
    }
}
