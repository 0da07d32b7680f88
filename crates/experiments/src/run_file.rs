//! Files of a run's folder, with this crate's error.

use crate::error::{Error, Result};
use std::io;
use std::path::Path;

/// As [`files::read_optional`].
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read(path: &Path) -> Result<Option<String>> {
    files::read_optional(path).map_err(|error| unreadable(path, error))
}

/// As [`files::exists`].
///
/// # Errors
/// [`Error::Unreadable`].
pub fn exists(path: &Path) -> Result<bool> {
    files::exists(path).map_err(|error| unreadable(path, error))
}

/// A file that cannot be read.
pub fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.into(), source }
}
