//! Why no ways are chosen.

use std::path::PathBuf;

/// Choices that cannot be read or followed, or a card that fails. A run whose own choices are the
/// reason can go on without its file, and has other bits from there on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A card fails, or a process is lost.
    #[error(transparent)]
    Train(#[from] train::Error),

    /// The run's own choices cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Unreadable {
        /// Their file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// The run's own choices cannot be followed here.
    #[error("{path}: {source}", path = path.display())]
    NotHere {
        /// Their file.
        path: PathBuf,
        /// What is missing.
        source: tensor::Error,
    },

    /// What the first process chose is not understood.
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
