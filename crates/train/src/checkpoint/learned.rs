//! What a run has learned so far.

use super::store::list;
use crate::weights::Weights;
use crate::{Error, Result, disk};
use std::io;
use std::path::{Path, PathBuf};

/// Reads what a run has learned so far: its file of weights, or while there is none its newest
/// checkpoint that is intact, which `say` is told. Gives the file, too.
///
/// # Errors
/// [`Error::Weights`] naming the run if it has neither.
pub fn newest_weights(run: &Path, say: &mut dyn FnMut(&str)) -> Result<(PathBuf, Weights)> {
    let path = run.join(Weights::FILE);
    let failed = |error: io::Error| Error::Weights {
        path: path.clone(),
        reason: format!("cannot read: {error}"),
    };
    if disk::exists(&path).map_err(failed)? {
        return Ok((path.clone(), Weights::read(&path)?));
    }
    let found = list(run)?;
    for (step, path) in &found {
        match Weights::read(path) {
            Ok(weights) => {
                let (run, file, name) = (run.display(), Weights::FILE, path.display());
                say(&format!("{run}: there is no {file} yet, so step {step} is used, from {name}"));
                return Ok((path.clone(), weights));
            }
            Err(error) => say(&format!("WARNING: {error}; the checkpoint before is tried")),
        }
    }
    let reason = match found.len() {
        0 => "there are neither weights nor checkpoints yet: a run writes its first after an \
              epoch, or sooner with --every"
            .to_string(),
        count => {
            format!("there are no weights yet, and none of its {count} checkpoints is intact")
        }
    };
    Err(Error::Weights { path: run.into(), reason })
}
