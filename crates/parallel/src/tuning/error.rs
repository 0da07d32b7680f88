//! Errors of choosing algorithms.

use std::path::PathBuf;

/// Choices that cannot be read or used, or a GPU that fails. Without its choices file a run can be
/// resumed; its results then differ in the last bits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A GPU fails, or a process is lost.
    #[error(transparent)]
    Train(#[from] train::Error),

    /// The run's own choices cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Unreadable {
        /// Their file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// The run's own choices cannot be used on this machine.
    #[error("{path}: {source}", path = path.display())]
    Unavailable {
        /// Their file.
        path: PathBuf,
        /// What is missing.
        source: tensor::Error,
    },

    /// The choices of rank 0 cannot be parsed.
    #[error("the first rank's choices: {0}")]
    Shared(String),
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Error {
        Error::Train(error.into())
    }
}

impl From<tensor::Error> for Error {
    fn from(error: tensor::Error) -> Error {
        Error::Train(error.into())
    }
}
