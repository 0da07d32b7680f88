//! How far a run has come: all that it must remember to go on as if nothing had happened.

use crate::recent::Recent;
use crate::schedule;
use crate::stuck::Stuck;
use evaluate::{Score, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a run has come. Random draws need nothing more: each is named by seed, epoch or step,
/// and image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The epoch that is under way, counted from one.
    pub epoch: u32,
    /// Its batches that have been learned.
    pub batches: usize,
    /// What the schedule remembers.
    pub schedule: schedule::ScheduleState,
    /// The last validation, and after which step it was.
    pub validation: Option<(u64, Score)>,
    /// The validation with the lowest top-1 error: its step and that error.
    pub best: Option<(u64, f64)>,
    /// Since the last line of metrics.
    pub unrecorded: Sums,
    /// Since the last validation.
    pub unvalidated: Tally,
    /// Whether the training error has been what the recipe waits for.
    #[serde(default)]
    pub reached: bool,
    /// The last steps, as they are shown.
    pub recent: Recent,
    /// Steps spent at chance.
    pub stuck: Stuck,
    /// Seconds of training so far.
    pub seconds: f64,
    /// How long each log was; what stands behind was written by steps that will be made again.
    pub logs: BTreeMap<String, u64>,
}

/// What a number of steps come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Losses and errors.
    pub tally: Tally,
    /// Seconds they took.
    pub seconds: f64,
    /// Of these, seconds waiting for images.
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
    /// Before the first step.
    pub fn begin() -> Progress {
        Progress { epoch: 1, ..Progress::default() }
    }

    /// Step, epoch and batches: what tells two checkpoints of a run apart.
    pub(crate) fn position(&self) -> (u64, u32, usize) {
        (self.step, self.epoch, self.batches)
    }

    /// Whether the network as it is has been validated.
    pub fn is_validated(&self) -> bool {
        self.validation.is_some_and(|(step, _)| step == self.step)
    }
}
