//! The errors of reading and preparing data sets.

use crate::reason::Reason;
use std::path::{Path, PathBuf};

/// An error with the path of a file or folder and, where there is one, a remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is at the given path, or nothing that can be opened.
    #[error("{}: {found}; expected {expected}", path.display())]
    NotFound {
        /// The path that was opened.
        path: PathBuf,
        /// What is at the path.
        found: String,
        /// What can be opened.
        expected: String,
    },
    /// A file or folder could not be read at all.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        reason: String,
    },
    /// A file or folder could not be written.
    #[error("{}: cannot be written: {reason}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's message, and a remedy.
        reason: String,
    },
    /// A pattern that cannot match any file name.
    #[error("{pattern}: no pattern for files: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is not a usable image.
    #[error("{}: {reason}; replace the file, or remove it", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: Reason,
    },
    /// Files or folders that do not form a data set.
    #[error("{}: {problem}; {remedy}", path.display())]
    Layout {
        /// The folder or file.
        path: PathBuf,
        /// The problem.
        problem: String,
        /// The remedy.
        remedy: String,
    },
    /// An archive that is damaged, truncated or unsafe.
    #[error("{}: {problem}; download it again", path.display())]
    Archive {
        /// The archive; for a nested archive, the path of the outer one joined with its name.
        path: PathBuf,
        /// The problem, with its byte offset in the outermost archive.
        problem: crate::tar::TarError,
    },
    /// More images than [`bad_limit`](crate::bad_limit) allows could not be read.
    #[error(
        "{count} of {len} images could not be read, more than the {limit} that are tolerated; \
         the first: {first}"
    )]
    TooManyBad {
        /// Unreadable images.
        count: usize,
        /// Images in the set.
        len: usize,
        /// The number of unreadable images that is tolerated.
        limit: usize,
        /// The error of the first.
        first: Box<Error>,
    },
    /// A read that did not come back within the loader's [`ReadTimeouts`](crate::ReadTimeouts).
    #[error(
        "{name}: no answer for {seconds} s; see whether the disk or the network it lies on has \
         gone away, then start again"
    )]
    Stalled {
        /// The image being read.
        name: String,
        /// The time waited.
        seconds: u64,
    },
    /// A worker panicked: a bug in this program or in a decoder.
    #[error(
        "{name}: reading it panicked ({message}); please report this, and remove the file to go on"
    )]
    Panic {
        /// The image being read.
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

    pub(crate) fn archive(path: &Path, problem: crate::tar::TarError) -> Error {
        Error::Archive { path: path.to_owned(), problem }
    }

    pub(crate) fn layout(
        path: &Path,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        Error::Layout { path: path.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }
}
