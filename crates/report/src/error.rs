//! Errors of reading a run's folder.

use std::io;
use std::path::PathBuf;

/// A run's folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder has none of the files that make one a run's.
    #[error(
        "{}: this is not a run's folder: it has no config.toml, run.json or metrics.jsonl",
        path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },

    /// None of the files could be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The first of them.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
