//! Errors of communication.

use std::fmt;

/// A collective that fails. All ranks that notice a lost rank name the same one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rank does not answer.
    #[error("rank {rank} {fate}: all ranks stop")]
    Lost {
        /// The rank.
        rank: usize,
        /// How it was lost.
        fate: Fate,
    },

    /// Two ranks have started different collectives.
    #[error("rank {rank} started {theirs} where rank {own} started {ours}: all ranks stop")]
    Disagree {
        /// The other rank.
        rank: usize,
        /// Its collective.
        theirs: String,
        /// This rank.
        own: usize,
        /// This rank's collective.
        ours: String,
    },

    /// The ranks cannot connect.
    #[error("the ranks cannot connect: {0}")]
    Rendezvous(String),

    /// MPI cannot be used.
    #[error("MPI: {0}")]
    Mpi(&'static str),

    /// A device fails.
    #[error(transparent)]
    Device(#[from] tensor::Error),
}

/// How a rank was lost.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fate {
    /// Its thread panicked.
    Panicked,
    /// It ended, with or without an error, while others were waiting for it.
    Left,
    /// It did not answer within this timeout, in seconds.
    Silent(f64),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Panicked => write!(f, "panicked"),
            Fate::Left => write!(f, "ended before the others"),
            Fate::Silent(seconds) => write!(f, "has not answered for {seconds} s"),
        }
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
