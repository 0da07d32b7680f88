//! Errors of a run.

use std::path::PathBuf;

/// A run that fails.
///
/// The program gives each variant an exit code; a new variant has the code of a failure at run
/// time, 1, until the program lists it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network's rows do not fit together, or do not fit the images.
    #[error(transparent)]
    Network(#[from] layers::SpecError),

    /// The device is missing or has too little memory.
    #[error(transparent)]
    Device(tensor::Error),

    /// The device failed in a step.
    #[error("step {step}: {source}; the run can be resumed from its last checkpoint")]
    Step {
        /// The step, counted from one.
        step: u64,
        /// The failure.
        source: tensor::Error,
    },

    /// The executor failed: another device of the run is lost.
    #[error(transparent)]
    Executor(Box<dyn std::error::Error + Send + Sync>),

    /// The images cannot be read.
    #[error(transparent)]
    Data(#[from] data::Error),

    /// The loss is not finite.
    #[error(
        "step {step}: the loss is {loss}; the first tensor that is not finite is {tensor}. {hint}"
    )]
    Diverged {
        /// The step, counted from one.
        step: u64,
        /// The loss.
        loss: f64,
        /// `the gradient of conv2.weight`, `the output of conv3`.
        tensor: String,
        /// The likely cause and what to do.
        hint: String,
    },

    /// A parameter is not finite, although the loss is.
    #[error(
        "step {step}: {tensor} is not finite, although the loss is: a NaN becomes zero after a \
         ReLU. The learning rate is the likely cause: try a tenth of it"
    )]
    NotFinite {
        /// The step, counted from one.
        step: u64,
        /// `conv2.weight`, `the gradient of conv2.weight`.
        tensor: String,
    },

    /// A file of the run could not be written.
    #[error(transparent)]
    File(#[from] files::Error),

    /// Weights cannot be used.
    #[error(transparent)]
    Weights(weights::Error),

    /// A checkpoint cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Checkpoint {
        /// Its file, or the run's folder.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },

    /// A run cannot be resumed with other settings.
    #[error("{path}: {reason}", path = path.display())]
    Resume {
        /// The run's folder.
        path: PathBuf,
        /// The differences, one per line.
        reason: String,
    },

    /// A folder cannot be used for a run.
    #[error("{path}: {reason}", path = path.display())]
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },

    /// The recipe does not fit the network or the data.
    #[error("{0}")]
    Recipe(String),
}

impl From<tensor::Error> for Error {
    /// A GPU that waits in vain for another has not failed itself: the other rank is lost.
    fn from(error: tensor::Error) -> Error {
        match error {
            tensor::Error::Unanswered { .. } => Error::Executor(Box::new(error)),
            other => Error::Device(other),
        }
    }
}

impl From<weights::Error> for Error {
    fn from(error: weights::Error) -> Error {
        match error {
            weights::Error::File(error) => Error::File(error),
            weights::Error::Device(error) => error.into(),
            other => Error::Weights(other),
        }
    }
}

impl Error {
    /// Adds the number of the step to a failure of the device.
    pub fn at_step(self, step: u64) -> Error {
        match self {
            Error::Device(source @ tensor::Error::Gpu { .. }) => Error::Step { step, source },
            other => other,
        }
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
