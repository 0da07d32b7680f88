//! What can go wrong in a run. The program gives each kind an exit code.

use std::path::PathBuf;

/// A run that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network's rows do not fit together, or do not fit the images.
    #[error(transparent)]
    Network(#[from] layers::SpecError),

    /// The device is missing or too small.
    #[error(transparent)]
    Device(tensor::Error),

    /// The device failed at work.
    #[error("step {step}: {error}; the run goes on with --resume from what was saved last")]
    Step {
        /// The step, counted from one.
        step: u64,
        /// What failed, and how.
        error: tensor::Error,
    },

    /// What carries out the steps failed in a way of its own: another device of the run is gone.
    #[error(transparent)]
    Executor(Box<dyn std::error::Error + Send + Sync>),

    /// The images cannot be read.
    #[error(transparent)]
    Data(#[from] data::Error),

    /// The loss, and before it some tensor, stopped being a number.
    #[error(
        "step {step}: the loss is {loss}; the first tensor that is not finite is {tensor}. {hint}"
    )]
    Diverged {
        /// The step, counted from one.
        step: u64,
        /// What the loss was.
        loss: f64,
        /// `the gradient of conv2.weight`, `the output of conv3`.
        tensor: String,
        /// The likely cause and what to do.
        hint: String,
    },

    /// A parameter stopped being a number although the loss is one.
    #[error(
        "step {step}: {tensor} is not finite, although the loss is: a unit that is no number \
         counts as zero after a ReLU. The learning rate is the likely cause: try a tenth (--lr)"
    )]
    NotFinite {
        /// The step, counted from one.
        step: u64,
        /// `conv2.weight`, `the gradient of conv2.weight`.
        tensor: String,
    },

    /// A file of the run was not written.
    #[error(transparent)]
    File(#[from] files::Error),

    /// Weights cannot be used.
    #[error(transparent)]
    Weights(weights::Error),

    /// No checkpoint of a run can be used.
    #[error("{path}: {reason}", path = path.display())]
    Checkpoint {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },

    /// A run cannot be resumed as something else.
    #[error("{path}: {reason}", path = path.display())]
    Resume {
        /// The run's folder.
        path: PathBuf,
        /// What differs, a line each.
        reason: String,
    },

    /// A run may not be written into this folder.
    #[error("{path}: {reason}", path = path.display())]
    RunFolder {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },

    /// The recipe does not fit the network or the data.
    #[error("{0}")]
    Recipe(String),
}

impl From<tensor::Error> for Error {
    /// A GPU that only waits for another's is well: the other is gone.
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
    /// The device's failures, with the step in which they came to light.
    pub fn at_step(self, step: u64) -> Error {
        match self {
            Error::Device(error @ tensor::Error::Gpu { .. }) => Error::Step { step, error },
            other => other,
        }
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
