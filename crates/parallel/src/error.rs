//! What can go wrong among several devices.

use std::fmt;

/// Another device that is gone, or this one's own failure.
#[derive(Debug)]
pub enum Error {
    /// Another device of the same run is gone.
    Comm(comm::Error),
    /// A failure of this device, its network or its parameters.
    Train(train::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Comm(error) => error.fmt(f),
            Error::Train(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<comm::Error> for Error {
    /// A device that fails while it talks to others is a device that fails.
    fn from(error: comm::Error) -> Error {
        match error {
            comm::Error::Device(error) => error.into(),
            other => Error::Comm(other),
        }
    }
}

impl From<tensor::Error> for Error {
    /// A GPU that only waits for another's is well: the other is gone.
    fn from(error: tensor::Error) -> Error {
        match error {
            tensor::Error::Unanswered { .. } => Error::Comm(comm::Error::Device(error)),
            other => Error::Train(other.into()),
        }
    }
}

impl From<train::Error> for Error {
    fn from(error: train::Error) -> Error {
        Error::Train(error)
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
    /// The device's failures, with the step in which they came to light.
    pub(crate) fn at_step(self, step: u64) -> Error {
        match self {
            Error::Train(error) => Error::Train(error.at_step(step)),
            other => other,
        }
    }
}

/// Of two errors of one run, the one that made the other: a device that fails makes the others say
/// that it is gone.
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
    fn a_gpu_that_waits_in_vain_is_not_the_cause() {
        let waits = Error::from(tensor::Error::Unanswered { seconds: 30.0 }).at_step(3);
        let (what, reason) = ("conv".to_string(), "it is broken".to_string());
        let fails = Error::from(tensor::Error::Gpu { what, reason }).at_step(3);
        assert!(matches!(waits, Error::Comm(comm::Error::Device(_))));
        assert!(cause(Some(waits), fails).to_string().starts_with("step 3: conv failed"));
    }
}
