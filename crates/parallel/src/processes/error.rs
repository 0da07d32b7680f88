//! Errors between the launch of several processes and their first step.

use super::settings::Disagreement;

/// Processes that cannot connect, or have different settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A process is lost, or a device fails.
    #[error(transparent)]
    Parallel(#[from] crate::Error),

    /// MPI processes were launched, and this program is built without MPI.
    #[error("{variable} is {processes}: this program was built without MPI")]
    WithoutMpi {
        /// The environment variable with the number of processes.
        variable: &'static str,
        /// The number of processes.
        processes: u64,
    },

    /// This process needs a GPU to communicate with the others, and has none.
    #[error(
        "process {rank} of {world} that a launcher started: {source}; without MPI, processes \
         communicate through their GPUs; on CPUs use mpirun"
    )]
    NoGpu {
        /// This process's rank.
        rank: usize,
        /// The number of processes.
        world: usize,
        /// Why the GPU cannot be used.
        source: tensor::Error,
    },

    /// Another process sends something that this program cannot parse.
    #[error(
        "another process runs another program than {version}: {0}",
        version = env!("CARGO_PKG_VERSION")
    )]
    OtherProgram(serde_json::Error),

    /// The processes have different settings.
    #[error(transparent)]
    Disagree(#[from] Disagreement),
}
