//! What can go wrong.

use crate::protocol::Data;
use std::io;
use std::path::PathBuf;

/// An experiment that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The protocol needs images, and no folder was named.
    #[error("{protocol} needs images")]
    NoImages {
        /// Which protocol.
        protocol: &'static str,
        /// Which of its images.
        data: Data,
    },

    /// A run's folder holds another run than the protocol's.
    #[error("{run}: this run has another {what} than the protocol", run = run.display())]
    AnotherRun {
        /// Its folder.
        run: PathBuf,
        /// What is another.
        what: &'static str,
    },

    /// A run has begun in another precision than the requested one.
    #[error("{run}: this run multiplies in {began}, not in {asked}", run = run.display())]
    AnotherPrecision {
        /// Its folder.
        run: PathBuf,
        /// Its own.
        began: String,
        /// The requested one.
        asked: String,
    },

    /// A run was made with other images than those that are named.
    #[error(
        "{run}: this run was made with other images (those of {began}) than {named} has",
        run = run.display()
    )]
    OtherImages {
        /// Its folder.
        run: PathBuf,
        /// Where its images were.
        began: String,
        /// Where those are that are named.
        named: String,
        /// Which of the protocol's images these are to be.
        data: Data,
    },

    /// A file or folder cannot be read, or the system does not report whether it exists.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A finished run lacks one of its logs.
    #[error("{path}: {source}", path = path.display())]
    Log {
        /// Which.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },

    /// The folder for the results cannot be made.
    #[error("{path}: cannot make the folder: {source}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A file that no longer holds cannot be removed.
    #[error("{path}: cannot remove it: {source}", path = path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The networks of an ensemble were not tested on the same images.
    #[error("{0}")]
    Apart(String),

    /// A run's network cannot be read, or its rows do not fit together.
    #[error(transparent)]
    Network(#[from] layers::SpecError),

    /// A run's checkpoints cannot be read.
    #[error(transparent)]
    Train(#[from] train::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
