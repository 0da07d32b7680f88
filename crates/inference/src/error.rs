//! Errors of opening and using a trained network.

use crate::predictor::NoSuchLayer;
use std::path::PathBuf;

/// A trained network that cannot be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be read, or belong to no network.
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

    /// The output of a layer is not kept: a later row was fused into it.
    #[error("the network was opened without the output of `{layer}`: name it when opening")]
    NotKept {
        /// The layer.
        layer: String,
    },

    /// A layer has units instead of feature maps.
    #[error(
        "`{layer}` has no feature maps: name a convolution, or a layer before the first linear one"
    )]
    NoMaps {
        /// The layer.
        layer: String,
    },

    /// A network of which no gradient is known at test time.
    #[error("`{layer}`: no explanation by gradients: {reason}")]
    NoExplanation {
        /// The row at fault.
        layer: String,
        /// Why.
        reason: String,
    },

    /// A network whose dropout masks cannot be sampled.
    #[error("{network}: no masks to sample: {reason}")]
    NoDropout {
        /// Its name.
        network: String,
        /// Why.
        reason: String,
    },

    /// A file of features cannot have this format.
    #[error("{path}: {reason}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it cannot hold, and which format can.
        reason: String,
    },

    /// The network consists of its classifier only.
    #[error("{network} has no layer before its classifier")]
    NoHiddenLayer {
        /// Its name.
        network: String,
    },

    /// An image has no pixels, or their number does not match its height and width.
    #[error(
        "an image of {height} x {width} has {} bytes, not {bytes}: three per pixel, row by row",
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

    /// Two images that are compared pixel by pixel differ in size.
    #[error(
        "the images are {} x {} and {} x {} pixels: resize them to one size",
        first[0], first[1], second[0], second[1]
    )]
    Sizes {
        /// Height and width of the first.
        first: [usize; 2],
        /// Those of the second.
        second: [usize; 2],
    },

    /// The inference thread has ended, as an earlier request failed.
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
