//! How a run ended.

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::folder::{RunFolder, State, Status};
use evaluate::Score;
use evaluate::Stop;
use tensor::Traffic;

/// Why a run ended, if no error ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that was asked for is done.
    Finished,
    /// A signal asked for it (1: hang-up, 2: interrupt, 15: terminate).
    Signal(usize),
    /// The [`Observer`](evaluate::observe::Observer) had seen enough.
    StoppedEarly,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Why.
    pub end: End,
    /// Steps done.
    pub steps: u64,
    /// Of these, steps done by the processes before.
    pub resumed_at: u64,
    /// Seconds of it all, earlier processes included.
    pub seconds: f64,
    /// Seconds in which this process wrote logs, copied snapshots or waited for them to be written
    /// instead of training.
    pub bookkeeping_s: f64,
    /// Training images a second of this process, validations not counted.
    pub images_per_s: f64,
    /// What this process's devices sent to others in a step, if somebody else has a part of it and
    /// a step was made in which nothing but training happened.
    pub exchanged: Option<Traffic>,
    /// The last training steps.
    pub train: Score,
    /// The last validation.
    pub validation: Option<Score>,
}

impl Outcome {
    /// The signal that ended it early, if one did.
    pub fn signal(&self) -> Option<usize> {
        match self.end {
            End::Signal(signal) => Some(signal),
            End::Finished | End::StoppedEarly => None,
        }
    }

    /// Of a run that was stopped while it waited for a disk.
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
        }
    }
}

/// Writes down how a run ended.
pub(super) fn conclude(
    outcome: Result<Outcome>,
    folder: &RunFolder,
    status: &mut Status,
) -> Result<Outcome> {
    match &outcome {
        Ok(outcome) => {
            status.status = match outcome.end {
                End::Finished => State::Finished,
                End::Signal(_) => State::Interrupted,
                End::StoppedEarly => State::StoppedEarly,
            };
        }
        Err(error) => {
            status.status = State::Failed;
            status.error = Some(error.to_string());
        }
    }
    let written = folder.status(status);
    outcome.and_then(|outcome| written.map(|()| outcome))
}
