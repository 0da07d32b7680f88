//! Whether a run that has no checkpoint had one.
//!
//! A run that was killed before its first save starts again and truncates its logs. A run whose
//! checkpoints were deleted must not do that, because its logs would be lost.

use crate::folder::{RunState, Status};
use crate::{Error, Result};
use files::disk::{Disk, FileKind};
use std::io;
use std::path::Path;
use weights::Weights;
use weights::run::CHECKPOINTS;

/// What shows that a run has been saved, or has got further than it can have without.
#[derive(Debug, PartialEq)]
pub(super) struct Trace(pub(super) String);

impl Trace {
    /// Looks for one. What each file proves, `training` and `saver` see to: pointers and weights
    /// are written after a checkpoint, and the folder is made before the first line of a log.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if a file is there and cannot be read: that is no proof of anything.
    pub(super) fn of(disk: &dyn Disk, run: &Path) -> Result<Option<Trace>> {
        let folder = run.join(CHECKPOINTS);
        let kind = |path: &Path| disk.kind(path).map_err(|error| unknown(path, &error));
        let found = |text: String| Ok(Some(Trace(text)));
        for pointer in ["latest", "best"] {
            if kind(&folder.join(pointer))?.is_some() {
                return found(format!("`{pointer}` names one"));
            }
        }
        if kind(&run.join(Weights::FILE))?.is_some() {
            let file = Weights::FILE;
            return found(format!("there is {file}, which is written after one"));
        }
        let status = run.join("run.json");
        if kind(&status)?.is_some() {
            let text = disk.read(&status).map_err(|error| unknown(&status, &error))?;
            let status: Status = serde_json::from_slice(&text)
                .map_err(|error| unknown(&status, &io::Error::from(error)))?;
            let ended = matches!(
                status.status,
                RunState::Finished | RunState::Interrupted | RunState::StoppedEarly
            );
            let saved = status.saved.or(Some(status.step).filter(|&step| ended && step > 0));
            if let Some(step) = saved {
                return found(format!("run.json says that step {step} was saved"));
            }
        }
        let log = kind(&run.join("metrics.jsonl"))?;
        if matches!(log, Some(FileKind::File(1..))) && kind(&folder)?.is_none() {
            return found("metrics.jsonl has lines, and the folder itself is gone".to_string());
        }
        Ok(None)
    }
}

fn unknown(path: &Path, error: &io::Error) -> Error {
    Error::Checkpoint {
        path: path.into(),
        reason: format!(
            "cannot be read: {error}; the run has no checkpoint, and whether it had one cannot be \
             told. Nothing was changed: try again when it can be read"
        ),
    }
}
