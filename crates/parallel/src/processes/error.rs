//! Why processes do not begin a run together.

use super::meeting::Disagreement;

/// Processes that do not find each other, or are about to do different things.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A process is lost, or a device fails.
    #[error(transparent)]
    Parallel(#[from] crate::Error),

    /// Processes were started that talk through MPI.
    #[error("{variable} is {processes}: this program was built without MPI")]
    WithoutMpi {
        /// The launcher's variable that says so.
        variable: &'static str,
        /// How many were started.
        processes: u64,
    },

    /// This process has no card, and would talk through it.
    #[error(
        "process {rank} of {world} that a launcher started: {source}; without MPI processes \
         exchange through their cards: on CPUs use mpirun"
    )]
    NoCard {
        /// Which process this is.
        rank: usize,
        /// How many there are.
        world: usize,
        /// What the card lacks.
        source: tensor::Error,
    },

    /// What another process says is not understood.
    #[error(
        "another process runs another program than {version}: {0}",
        version = env!("CARGO_PKG_VERSION")
    )]
    OtherProgram(serde_json::Error),

    /// They are about to do different things.
    #[error(transparent)]
    Disagree(#[from] Disagreement),
}
