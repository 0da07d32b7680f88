//! Errors of reading, writing and using weights.

use std::path::PathBuf;

/// Weights that cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A weights file cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The cause, and what to do.
        reason: String,
    },

    /// A weights file contains NaN or infinity.
    #[error(
        "{path}: {tensor} has a value that is not finite (NaN or infinity): training diverged, or \
         the file was changed; use weights or a checkpoint from before that",
        path = path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// `conv2.weight`, `input.mean`.
        tensor: String,
    },

    /// A format cannot have the network.
    #[error("{path}: {reason}", path = path.display())]
    Export {
        /// The file that was not written.
        path: PathBuf,
        /// The cause, and what to do.
        reason: String,
    },

    /// An exported file, read back, computes something else.
    #[error(
        "{path}: the exported file, read back, computes other scores or has other metadata than \
         the network, so it was not kept: this is an error of the program or of the disk",
        path = path.display()
    )]
    ExportDiffers {
        /// The file that was not written.
        path: PathBuf,
    },

    /// The file was not written.
    #[error(transparent)]
    File(#[from] files::Error),

    /// The device failed.
    #[error(transparent)]
    Device(#[from] tensor::Error),
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
