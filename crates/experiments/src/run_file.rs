//! Files of a run's folder: that one is missing is an answer, that one cannot be read is an error.

use crate::error::{Error, Result};
use std::io;
use std::path::Path;

/// The text of a file; `None` if there is none.
///
/// # Errors
/// [`Error::Unreadable`] if there is one and it cannot be read, or is no regular file.
pub fn read(path: &Path) -> Result<Option<String>> {
    match exists(path)? {
        true => files::read_to_string(path).map(Some).map_err(|error| unreadable(path, error)),
        false => Ok(None),
    }
}

/// Whether there is a file.
///
/// # Errors
/// [`Error::Unreadable`] if that cannot be told.
pub fn exists(path: &Path) -> Result<bool> {
    files::exists(path).map_err(|error| unreadable(path, error))
}

/// That a file cannot be read.
pub fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.into(), source }
}
