//! What can go wrong with weights.

use std::path::PathBuf;

/// Weights that cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of weights cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },

    /// A file of weights holds numbers that are none.
    #[error(
        "{path}: {tensor} has a number that is not finite (NaN or infinity): its training \
         diverged, or the file was changed; use weights or a checkpoint from before that",
        path = path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// `conv2.weight`, `input.mean`.
        tensor: String,
    },

    /// The file was not written.
    #[error(transparent)]
    File(#[from] files::Error),

    /// The device failed.
    #[error(transparent)]
    Device(#[from] tensor::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
