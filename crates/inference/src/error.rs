//! What can go wrong when a trained network is used.

use crate::predictor::NoSuchLayer;

/// A trained network that cannot be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be read, or are no network's.
    #[error(transparent)]
    Weights(weights::Error),

    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] files::Error),

    /// The network's rows do not fit together.
    #[error(transparent)]
    Network(#[from] layers::SpecError),

    /// An image cannot be read.
    #[error(transparent)]
    Data(#[from] data::Error),

    /// The device is missing, too small, or failed.
    #[error(transparent)]
    Device(#[from] tensor::Error),

    /// The network has no layer of that name.
    #[error(transparent)]
    Layer(#[from] NoSuchLayer),

    /// The network is its classifier.
    #[error("{network} has no layer before its classifier")]
    NoHiddenLayer {
        /// Its name.
        network: String,
    },

    /// An image has no pixels, or not as many as its height and width say.
    #[error(
        "an image of {height} x {width} has {} bytes, not {bytes}: three a pixel, row by row",
        3 * height * width
    )]
    Pixels {
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
        /// Its bytes.
        bytes: usize,
    },

    /// The thread that computes is gone: it has failed before.
    #[error("the network's thread has ended: {0}")]
    Ended(String),
}

impl From<weights::Error> for Error {
    fn from(error: weights::Error) -> Error {
        match error {
            weights::Error::Device(error) => Error::Device(error),
            other => Error::Weights(other),
        }
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
