//! Why the bytes of a file cannot be decoded.

/// Why an image cannot be decoded; its text is a sentence's part, for
/// [`Error::Image`](crate::Error::Image).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes cannot be read from the disk or out of their archive.
    #[error("{0}")]
    Unreadable(String),
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The bytes do not begin like any image format that can be read.
    #[error("{0}")]
    NotAnImage(String),
    /// A valid image of a kind that cannot be read; the text says what to do about it.
    #[error("{0}")]
    Unsupported(String),
    /// The header or the pixels are incomplete or contradict the format.
    #[error("{0}")]
    Damaged(String),
    /// No pixels, too many, or too long a strip.
    #[error("{0}")]
    UnusableSize(String),
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.to_string()
    }
}
