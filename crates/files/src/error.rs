//! What can go wrong with a file that is written.

use std::io;
use std::path::PathBuf;

/// A file that was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The disk is full.
    #[error(
        "{path}: no room: {needed} bytes are needed{free}; {remedy}, and the run goes on with \
         --resume from what was saved last ({source})",
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
        /// Bytes that are free, where the system tells.
        free: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
