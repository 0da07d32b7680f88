//! How a run ended.

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::early_stopping::BestWeights;
use crate::folder::{RunFolder, RunState, Status};
use evaluate::Score;
use evaluate::Stop;
use files::numbers::{duration, percent};
use serde_json::{Value, json};
use std::path::Path;
use tensor::Traffic;
use weights::Weights;

/// Why a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps are done.
    Finished,
    /// A signal was received (1: hang-up, 2: interrupt, 15: terminate).
    Signal(usize),
    /// The [`Observer`](evaluate::observe::Observer) requested the end.
    StoppedEarly,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The reason.
    pub end: End,
    /// The number of steps done.
    pub steps: u64,
    /// Of these, steps done by earlier processes.
    pub resumed_at: u64,
    /// Seconds of training, including earlier processes.
    pub seconds: f64,
    /// Seconds in which this process wrote logs, copied snapshots or waited for them to be written
    /// instead of training.
    pub bookkeeping_s: f64,
    /// Training images per second of this process, without validations.
    pub images_per_s: f64,
    /// The traffic of this process's devices in one step; `None` if nothing is sent, or every step
    /// also filled statistics.
    pub exchanged: Option<Traffic>,
    /// The score of the last training steps.
    pub train: Score,
    /// The last validation.
    pub validation: Option<Score>,
    /// With early stopping: the validation whose weights were kept, and whether it ended the run.
    pub best_weights: Option<BestWeights>,
}

impl Outcome {
    /// The signal that ended it early, if one did.
    pub fn signal(&self) -> Option<usize> {
        match self.end {
            End::Signal(signal) => Some(signal),
            End::Finished | End::StoppedEarly => None,
        }
    }

    /// The outcome of the run in the folder `run` as JSON.
    pub fn to_json(&self, run: &Path) -> Value {
        let mut outcome = json!({
            "loss": self.validation.map(|score| score.loss),
            "top1_error": self.validation.map(|score| score.top1_error),
            "top5_error": self.validation.and_then(|score| score.top5_error),
            "train_loss": self.train.loss,
            "train_top1_error": self.train.top1_error,
            "images_per_s": self.images_per_s,
            "steps": self.steps,
            "seconds": self.seconds,
            "bookkeeping_s": self.bookkeeping_s,
            "sent_bytes_per_step": self.exchanged.map(|sent| sent.bytes),
            "stopped": self.signal(),
            "run": run.to_string_lossy(),
        });
        if let Some(best) = &self.best_weights {
            outcome["early_stopping"] = json!(best);
        }
        outcome
    }

    /// The outcome of the run in the folder `run` as lines of text.
    pub fn to_text(&self, run: &Path) -> String {
        let how = if self.end == End::Finished { "done" } else { "stopped" };
        let (steps, time, rate) = (self.steps, duration(self.seconds), self.images_per_s);
        let sent = self.exchanged.map_or_else(String::new, |sent| {
            format!(", {:.1} MB sent a step", sent.bytes as f64 / 1e6)
        });
        let mut text = format!("{how}: {steps} steps in {time}, {rate:.0} images/s{sent}\n");
        if let Some(Score { loss, top1_error, top5_error, .. }) = self.validation {
            text +=
                &format!("last validation: loss {loss:.4}, top-1 error {}", percent(top1_error));
            if let Some(error) = top5_error {
                text += &format!(", top-5 error {}", percent(error));
            }
            text += "\n";
        }
        text += &self.best_weights.map_or_else(String::new, |best| format!("{best}\n"));
        let weights = run.join(Weights::FILE);
        if weights.exists() {
            text += &format!("weights: {}\n", weights.display()); // none yet before the first step
        }
        text
    }

    /// The outcome of a run that was stopped before its first step.
    pub(super) fn before_the_first_step(stop: &Stop, from: Option<&Checkpoint>) -> Outcome {
        let progress = from.map(|from| &from.progress);
        let steps = progress.map_or(0, |progress| progress.step);
        Outcome {
            end: stop.requested().map_or(End::Finished, End::Signal),
            steps,
            resumed_at: steps,
            seconds: progress.map_or(0.0, |progress| progress.seconds),
            bookkeeping_s: 0.0,
            images_per_s: 0.0,
            exchanged: None,
            train: Score::default(),
            validation: progress.and_then(|progress| Some(progress.validation?.1)),
            best_weights: None,
        }
    }
}

/// Writes the end of a run into its folder.
pub(super) fn conclude(
    outcome: Result<Outcome>,
    folder: &RunFolder,
    status: &mut Status,
) -> Result<Outcome> {
    match &outcome {
        Ok(outcome) => {
            status.status = match outcome.end {
                End::Finished => RunState::Finished,
                End::Signal(_) => RunState::Interrupted,
                End::StoppedEarly => RunState::StoppedEarly,
            };
        }
        Err(error) => {
            status.status = RunState::Failed;
            status.error = Some(error.to_string());
        }
    }
    let written = folder.status(status);
    outcome.and_then(|outcome| written.map(|()| outcome))
}
