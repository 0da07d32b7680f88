//! Why a file cannot be decoded.

/// Why an image cannot be decoded. Its text is used within
/// [`Error::Image`](crate::Error::Image)'s message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes cannot be read from the disk or from their archive.
    #[error("{0}")]
    Unreadable(String),
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The content is not of any known image format.
    #[error("{0}")]
    NotAnImage(String),
    /// A valid image of an unsupported kind; the text contains the remedy.
    #[error("{0}")]
    Unsupported(String),
    /// The header or the pixels are incomplete or violate the format.
    #[error("{0}")]
    Damaged(String),
    /// Zero, too many, or too elongated: no usable size.
    #[error("{0}")]
    UnusableSize(String),
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.to_string()
    }
}
