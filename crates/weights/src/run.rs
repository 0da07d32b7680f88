//! The names of a run's files, and its latest weights.

use crate::import::ImportOptions;
use crate::weights::{About, Weights};
use crate::{Error, Result};
use files::disk::{Disk, FileKind, RealDisk};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of checkpoints in a run's folder.
pub const CHECKPOINTS: &str = "checkpoints";

/// The name of the checkpoint after a step.
pub fn checkpoint_name(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}

/// The checkpoints of a run with their steps, newest first. Their contents are not checked.
///
/// # Errors
/// [`Error::Unusable`] if the folder exists but cannot be read.
pub fn list(run: impl AsRef<Path>) -> Result<Vec<(u64, PathBuf)>> {
    let run = run.as_ref();
    let named = saved(&RealDisk, run)?.into_iter();
    Ok(named.filter(|found| found.is_file).map(|found| (found.step, found.path)).collect())
}

/// A directory entry with a checkpoint's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The step in its name.
    pub step: u64,
    /// Its path.
    pub path: PathBuf,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// The entries with a checkpoint's name, newest first; none if there is no folder of checkpoints.
///
/// # Errors
/// [`Error::Unusable`] if the folder exists but cannot be read.
pub fn saved(disk: &dyn Disk, run: &Path) -> Result<Vec<Saved>> {
    let folder = run.join(CHECKPOINTS);
    let failed = |path: &Path, error: io::Error| unreadable(path, &error);
    if disk.kind(&folder).map_err(|error| failed(&folder, error))?.is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for path in disk.list(&folder).map_err(|error| failed(&folder, error))? {
        let Some(step) = step_of(&path) else { continue };
        match disk.kind(&path).map_err(|error| failed(&path, error))? {
            None => {} // just removed by the training process, or a dangling link
            Some(kind) => {
                found.push(Saved { step, path, is_file: matches!(kind, FileKind::File(_)) })
            }
        }
    }
    found.sort_by(|a, b| (b.step, &b.path).cmp(&(a.step, &a.path)));
    Ok(found)
}

/// The error for a checkpoint, or the folder of checkpoints, that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Unusable {
        path: path.into(),
        reason: format!(
            "cannot be read: {error}; nothing was changed. Try again when it can be read, or move \
             it away"
        ),
    }
}

/// The step in a checkpoint's name.
pub fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
    let is_number = digits.len() >= 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The metadata of a run's weights file or, while there is none, of its newest checkpoint with
/// metadata that can be read; `None` if it has neither. Parameters and checksums are not checked.
///
/// # Errors
/// [`Error::Unusable`] if none can be read.
pub fn newest_about(run: impl AsRef<Path>) -> Result<Option<About>> {
    let run = run.as_ref();
    let path = run.join(Weights::FILE);
    let options = ImportOptions::default();
    let is_there = files::exists(&path).map_err(|error| unreadable(&path, &error))?;
    if is_there {
        return Weights::about(&path, &options).map(Some);
    }
    let mut about = Ok(None);
    for (_, path) in list(run)? {
        about = Weights::about(&path, &options).map(Some);
        if about.is_ok() {
            break;
        }
    }
    about
}

/// Reads a run's latest weights: its weights file or, while there is none, its newest intact
/// checkpoint, which is reported to `log`. Also returns the file's path.
///
/// # Errors
/// [`Error::Unusable`] with the run's folder if it has neither.
pub fn newest_weights(
    run: impl AsRef<Path>,
    log: &mut dyn FnMut(&str),
) -> Result<(PathBuf, Weights)> {
    let run = run.as_ref();
    let path = run.join(Weights::FILE);
    let failed = |error: io::Error| Error::Unusable {
        path: path.clone(),
        reason: format!("cannot read: {error}"),
    };
    if files::exists(&path).map_err(failed)? {
        return Ok((path.clone(), Weights::read(&path)?));
    }
    let found = list(run)?;
    for (step, path) in &found {
        match Weights::read(path) {
            Ok(weights) => {
                let (run, file, name) = (run.display(), Weights::FILE, path.display());
                log(&format!("{run}: there is no {file} yet; using {name} of step {step}"));
                return Ok((path.clone(), weights));
            }
            Err(error) => log(&format!("WARNING: {error}; trying the previous checkpoint")),
        }
    }
    let reason = match found.len() {
        0 => "there are neither weights nor checkpoints yet: by default a run writes its first \
              after an epoch"
            .to_string(),
        count => {
            format!("there are no weights yet, and none of its {count} checkpoints is intact")
        }
    };
    Err(Error::Unusable { path: run.into(), reason })
}
