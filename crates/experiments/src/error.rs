//! Errors of running an experiment.

use crate::protocol::Data;
use std::io;
use std::path::PathBuf;

/// An experiment cannot continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The protocol needs images, and no folder was given.
    #[error("{protocol} needs images")]
    NoImages {
        /// The protocol.
        protocol: &'static str,
        /// The missing data set.
        data: Data,
    },

    /// A run's folder holds another run than the protocol's.
    #[error("{run}: this run has another {what} than the protocol", run = run.display())]
    AnotherRun {
        /// Its folder.
        run: PathBuf,
        /// The setting that differs.
        what: &'static str,
    },

    /// An existing run has another precision than the requested one.
    #[error("{run}: this run computes in {began}, not in {asked}", run = run.display())]
    AnotherPrecision {
        /// Its folder.
        run: PathBuf,
        /// Its own.
        began: String,
        /// The requested one.
        asked: String,
    },

    /// An existing run has other images than the requested ones.
    #[error(
        "{run}: this run was made with other images ({began}) than those of {named}",
        run = run.display()
    )]
    OtherImages {
        /// Its folder.
        run: PathBuf,
        /// The location of its images.
        began: String,
        /// The location of the requested images.
        named: String,
        /// The protocol's data set.
        data: Data,
    },

    /// A file or folder, or its existence, cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A finished run lacks one of its logs.
    #[error("{path}: {source}", path = path.display())]
    Log {
        /// Its path.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },

    /// The folder for the results cannot be made.
    #[error("{path}: cannot make the folder: {source}", path = path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// An outdated file cannot be removed.
    #[error("{path}: cannot remove it: {source}", path = path.display())]
    Remove {
        /// Its path.
        path: PathBuf,
        /// The cause.
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
