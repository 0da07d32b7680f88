//! Why a pickle is rejected.

/// A problem of a pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pickle uses a global that is not on the allow-list.
    #[error("the pickle calls {0}, which is not allowed")]
    NotAllowed(String),
    /// It ends before its `STOP` instruction.
    #[error("the pickle is truncated at byte {at}")]
    Truncated {
        /// The offset where more bytes were expected.
        at: usize,
    },
    /// An instruction that is unknown or invalid in its context.
    #[error("the pickle is damaged at byte {at}: {reason}")]
    Damaged {
        /// The offset of the instruction.
        at: usize,
        /// The problem.
        reason: String,
    },
    /// A limit of the caller's [`PickleLimits`](crate::PickleLimits) is exceeded.
    #[error("the pickle has more than {limit} {what}")]
    TooMuch {
        /// The limited quantity.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A container that contains itself.
    #[error("a value of the pickle contains itself")]
    Cycle,
    /// A value that its reader does not support.
    #[error("{0}")]
    Unexpected(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn unexpected(what: impl Into<String>) -> Error {
        Error::Unexpected(what.into())
    }
}
