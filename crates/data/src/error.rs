//! The errors of reading and preparing data sets.

use crate::reason::Reason;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Arguments that contradict each other, such as a crop that is larger than the images.
    #[error("{0}")]
    Argument(String),
    /// An image of a [`Source`](crate::Source) outside this crate cannot be read.
    #[error("{name}: {source}")]
    Source {
        /// The image, as in [`Source::name`](crate::Source::name).
        name: String,
        /// The source's own error.
        source: SourceError,
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

/// The error of a [`Source`](crate::Source) outside this crate. It is equal to its clones only.
#[derive(Clone, Debug)]
pub struct SourceError(Arc<dyn std::error::Error + Send + Sync>);

impl Deref for SourceError {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for SourceError {
    fn eq(&self, other: &SourceError) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SourceError {}

impl Error {
    /// The error of an image called `name`, for sources outside this crate. The error itself is
    /// returned by [`source`](std::error::Error::source).
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// let broken = std::io::Error::other("the camera is off");
    /// let error = alexnet_data::Error::of_source("frame 7", broken);
    /// assert_eq!(error.to_string(), "frame 7: the camera is off");
    /// assert!(error.source().unwrap().is::<std::io::Error>());
    /// ```
    pub fn of_source(
        name: impl Into<String>,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Source { name: name.into(), source: SourceError(Arc::from(error.into())) }
    }

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
