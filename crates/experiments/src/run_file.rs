//! Reads files of a run's folder; failures are this crate's errors.

use crate::error::{Error, Result};
use std::io;
use std::path::Path;

/// The text of a file; `None` if nothing is at the path. See [`files::read_optional`].
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read(path: &Path) -> Result<Option<String>> {
    files::read_optional(path).map_err(|error| unreadable(path, error))
}

/// Whether anything is at a path. See [`files::exists`].
///
/// # Errors
/// [`Error::Unreadable`].
pub fn exists(path: &Path) -> Result<bool> {
    files::exists(path).map_err(|error| unreadable(path, error))
}

/// The error for a file that cannot be read.
pub fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.into(), source }
}
