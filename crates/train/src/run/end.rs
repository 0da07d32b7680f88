//! How a run ended.

use super::Outcome;
use crate::Result;
use crate::folder::{RunFolder, State, Status};

/// Writes down how a run ended.
pub(super) fn conclude(
    outcome: Result<Outcome>,
    folder: &RunFolder,
    status: &mut Status,
) -> Result<Outcome> {
    match &outcome {
        Ok(outcome) => {
            let stopped = outcome.stopped.is_some();
            status.status = if stopped { State::Interrupted } else { State::Finished };
        }
        Err(error) => {
            status.status = State::Failed;
            status.error = Some(error.to_string());
        }
    }
    let told = folder.status(status);
    outcome.and_then(|outcome| told.map(|()| outcome))
}
