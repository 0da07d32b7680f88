//! Errors of writing files.

use std::io;
use std::path::PathBuf;

/// An error of writing a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The disk is full.
    #[error(
        "{path}: no room: {needed} bytes are needed{free}; {remedy}, then resume the run from its \
         last checkpoint ({source})",
        path = path.display(),
        free = free.map_or_else(String::new, |free| format!(" and {free} are free")),
        remedy = match source.kind() {
            io::ErrorKind::FileTooLarge => "raise the limit on the size of files (ulimit -f)",
            _ => "free some space",
        }
    )]
    NoRoom {
        /// What was being written.
        path: PathBuf,
        /// Its size.
        needed: u64,
        /// The free bytes, if the system reports them.
        free: Option<u64>,
        /// The system's error.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
