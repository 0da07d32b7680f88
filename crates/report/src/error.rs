//! Why a run's folder cannot be reported.

use std::io;
use std::path::PathBuf;

/// A folder of which nothing can be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder has none of the files that make one a run's.
    #[error(
        "{}: this is no run's folder: it has no config.toml, run.json or metrics.jsonl",
        path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },

    /// Some are there or may be, and none could be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The first of them.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
