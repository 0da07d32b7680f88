//! Errors of training on several devices.

/// Another rank is lost, or this one fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another rank of the run is lost, or the ranks disagree.
    #[error(transparent)]
    Comm(comm::Error),

    /// A failure of this device, its network or its parameters.
    #[error(transparent)]
    Train(#[from] train::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl From<comm::Error> for Error {
    /// A device failure during communication is a failure of this device.
    fn from(error: comm::Error) -> Error {
        match error {
            comm::Error::Device(error) => error.into(),
            other => Error::Comm(other),
        }
    }
}

impl From<tensor::Error> for Error {
    /// A GPU that waits in vain for another has not failed itself: the other rank is lost.
    fn from(error: tensor::Error) -> Error {
        match error {
            tensor::Error::Unanswered { .. } => Error::Comm(comm::Error::Device(error)),
            other => Error::Train(other.into()),
        }
    }
}

impl From<Error> for train::Error {
    fn from(error: Error) -> train::Error {
        match error {
            Error::Comm(error) => train::Error::Executor(Box::new(error)),
            Error::Train(error) => error,
        }
    }
}

impl Error {
    /// Adds the number of the step to failures of this device.
    pub(crate) fn at_step(self, step: u64) -> Error {
        match self {
            Error::Train(error) => Error::Train(error.at_step(step)),
            other => other,
        }
    }
}

/// The root cause of two errors of one run. The failure of one rank makes the others fail with
/// errors that only report its loss.
pub(crate) fn cause(first: Option<Error>, other: Error) -> Error {
    let is_of_others =
        |error: &Error| matches!(error, Error::Comm(_) | Error::Train(train::Error::Executor(_)));
    match first {
        Some(first) if !is_of_others(&first) || is_of_others(&other) => first,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_a_gpu_is_not_the_root_cause() {
        let waits = Error::from(tensor::Error::Unanswered { seconds: 30.0 }).at_step(3);
        let (what, reason) = ("conv".to_string(), "it is broken".to_string());
        let fails = Error::from(tensor::Error::Gpu { what, reason }).at_step(3);
        assert!(matches!(waits, Error::Comm(comm::Error::Device(_))));
        assert!(cause(Some(waits), fails).to_string().starts_with("step 3: conv failed"));
    }
}
