//! What can go wrong between the disk and a batch.

use crate::reason::Reason;
use std::path::{Path, PathBuf};

/// A problem of the world (a file, a folder), with its path and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the given path, or nothing that is known.
    #[error("{}: {found}; expected {expected}", path.display())]
    NotFound {
        /// What was opened.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What was looked for.
        expected: String,
    },
    /// A file or folder could not be read at all.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file or folder could not be written.
    #[error("{}: cannot be written: {reason}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says, and what to do.
        reason: String,
    },
    /// A pattern that no file's name could fit.
    #[error("{pattern}: no pattern for files: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is no usable image.
    #[error("{}: {reason}; replace the file, or remove it", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Reason,
    },
    /// A data set's folders or files do not make a data set.
    #[error("{}: {problem}; {remedy}", path.display())]
    Layout {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// An archive that is broken, cut off or not to be trusted.
    #[error("{}: {broken}; download it again", path.display())]
    Archive {
        /// The archive; one inside another as if that were a folder.
        path: PathBuf,
        /// What is wrong, and at which byte of the outermost.
        broken: crate::tar::Broken,
    },
    /// More images than [`bad_limit`](crate::bad_limit) allows could not be read.
    #[error(
        "{count} of {len} images could not be read, more than the {limit} that are passed over; \
         the first: {first}"
    )]
    TooManyBad {
        /// So many could not be read.
        count: usize,
        /// Images in the set.
        len: usize,
        /// So many may be bad.
        limit: usize,
        /// What happened to the first.
        first: Box<Error>,
    },
    /// A read that did not come back within the loader's [`Patience`](crate::Patience).
    #[error(
        "{name}: no answer for {seconds} s; see whether the disk or the network it lies on has \
         gone away, then start again"
    )]
    Stalled {
        /// The image at hand.
        name: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A worker panicked: a defect of this program (or of a decoder), met at a certain image.
    #[error(
        "{name}: reading it panicked ({message}); please report this, and remove the file to go on"
    )]
    Panic {
        /// The image at hand.
        name: String,
        /// The panic's message.
        message: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Error {
        Error::Io { path: path.to_owned(), reason: error.to_string() }
    }

    pub(crate) fn image(path: &Path, reason: Reason) -> Error {
        Error::Image { path: path.to_owned(), reason }
    }

    pub(crate) fn archive(path: &Path, broken: crate::tar::Broken) -> Error {
        Error::Archive { path: path.to_owned(), broken }
    }

    pub(crate) fn layout(
        path: &Path,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        Error::Layout { path: path.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }
}
