//! What can go wrong among ranks.

use std::fmt;

/// A collective that does not end as it should. All ranks that notice name the same culprit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rank is needed and does not answer.
    #[error("rank {rank} {fate}: all ranks stop")]
    Lost {
        /// Which.
        rank: usize,
        /// What became of it.
        fate: Fate,
    },

    /// Two ranks are in different places of their programs.
    #[error("rank {rank} started {theirs} where rank {own} started {ours}: all ranks stop")]
    Disagree {
        /// The other rank.
        rank: usize,
        /// What it did.
        theirs: String,
        /// This rank.
        own: usize,
        /// What this rank did.
        ours: String,
    },

    /// Ranks do not find each other.
    #[error("the ranks do not find each other: {0}")]
    Rendezvous(String),

    /// MPI cannot be used.
    #[error("MPI: {0}")]
    Mpi(&'static str),

    /// A device fails.
    #[error(transparent)]
    Device(#[from] tensor::Error),
}

/// What became of a rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Its thread panicked.
    Panicked,
    /// It ended, with or without an error of its own, while others still counted on it.
    Left,
    /// It has started nothing for so many seconds that others wait for.
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
