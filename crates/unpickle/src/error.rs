//! Why a pickle is refused.

/// What is wrong with a pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pickle names a global that is not on the allow-list.
    #[error("the pickle calls {0}, which is not allowed")]
    NotAllowed(String),
    /// It ends before its `STOP` instruction.
    #[error("the pickle is cut off at byte {at}")]
    Truncated {
        /// Where more bytes were expected.
        at: usize,
    },
    /// An instruction that cannot be read or makes no sense there.
    #[error("the pickle is damaged at byte {at}: {reason}")]
    Damaged {
        /// The instruction's first byte.
        at: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// More than the caller's [`Limits`](crate::Limits).
    #[error("the pickle has more than {limit} {what}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// So much is read.
        limit: usize,
    },
    /// A container that contains itself.
    #[error("a value of the pickle contains itself")]
    Cycle,
    /// A value that does not have the form that its reader expects.
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
