//! Who started this process, as one of how many, and how it finds the others.

use crate::fault::{Fault, Result};
use comm::{Comm, Nccl, rendezvous};
use std::time::Duration;
use tensor::{Choice, Device};

/// Who started this process, and as one of how many.
#[derive(Debug, PartialEq, Eq)]
enum Launch {
    Alone,
    Mpi {
        variable: &'static str,
        processes: u64,
    },
    /// torchrun or srun: processes with a card each.
    Cards(rendezvous::Launch),
}

impl Launch {
    /// mpirun may run inside a job of Slurm's, and srun may speak PMI to whoever knows it.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Launch> {
        let mpi = |name: &'static str| {
            let processes = variable(name).and_then(|size| size.parse().ok());
            let several = processes.filter(|&processes| processes > 1);
            several.map(|processes| Launch::Mpi { variable: name, processes })
        };
        let (open_mpi, pmi) = (mpi("OMPI_COMM_WORLD_SIZE"), mpi("PMI_SIZE"));
        match (open_mpi, pmi) {
            (Some(mpirun), _) => Ok(mpirun),
            (None, Some(pmi)) if cfg!(feature = "mpi") => Ok(pmi),
            (None, pmi) => {
                let cards = rendezvous::Launch::told(&variable).map_err(parallel::Error::from)?;
                Ok(cards.map(Launch::Cards).or(pmi).unwrap_or(Launch::Alone))
            }
        }
    }
}

/// How long a launcher may take to start all of them.
const ARRIVAL: Duration = Duration::from_secs(300);

/// A process that has found the others.
pub(super) struct Joined {
    pub(super) comm: Box<dyn Comm>,
    /// What it can talk through: host memory, or the card that joined.
    pub(super) desk: Device,
    /// The number of that card.
    pub(super) card: Option<usize>,
}

/// Finds the others, if a launcher started some.
///
/// # Errors
/// Exit code 2 if this program cannot talk to them, 6 if it needs a card or NCCL for that, 1 if
/// they cannot be reached.
pub(super) fn join() -> Result<Option<Joined>> {
    match Launch::read(|name| std::env::var(name).ok())? {
        Launch::Alone => Ok(None),
        Launch::Mpi { variable, processes } => {
            let comm = join_mpi(variable, processes)?;
            Ok(Some(Joined { comm, desk: Device::cpu(1), card: None }))
        }
        Launch::Cards(launch) => {
            let (card, mut desk) = own_card(&launch)?;
            let comm = Nccl::meet(&mut desk, &launch, ARRIVAL).map_err(parallel::Error::from)?;
            Ok(Some(Joined { comm: Box::new(comm), desk, card: Some(card) }))
        }
    }
}

/// Refuses to be one of several processes, for verbs whose runs are one process's.
///
/// # Errors
/// Exit code 2 if a launcher started several: each would make runs of its own.
pub fn check_alone() -> Result<()> {
    let (launcher, processes) = match Launch::read(|name| std::env::var(name).ok())? {
        Launch::Alone => return Ok(()),
        Launch::Mpi { variable, processes } => (variable, processes),
        Launch::Cards(launch) => ("the number of processes", launch.world as u64),
    };
    Err(Fault::usage(format!(
        "{launcher} is {processes}: these runs are one process's; start it without a launcher, or \
         train with `alexnet train`"
    )))
}

/// The card of a process that torchrun or srun started: the one with its number on its host, or the
/// only one that it is shown.
///
/// # Errors
/// Exit code 6.
fn own_card(launch: &rendezvous::Launch) -> Result<(usize, Device)> {
    let open = |card| Device::open(Choice::Cuda(card), 1);
    let opened = match open(launch.local) {
        Ok(card) => Ok((launch.local, card)),
        Err(_) if launch.local > 0 && open(1).is_err() => open(0).map(|card| (0, card)),
        Err(error) => Err(error),
    };
    opened.map_err(|error| {
        let rendezvous::Launch { rank, world, .. } = launch;
        let Fault { code, message } = error.into();
        Fault {
            code,
            message: format!(
                "process {rank} of {world} that a launcher started: {message}; without MPI \
                 processes exchange through their cards: on CPUs use mpirun, or one process with \
                 --device cpu,cpu"
            ),
        }
    })
}

#[cfg(feature = "mpi")]
fn join_mpi(_: &str, _: u64) -> Result<Box<dyn Comm>> {
    let joined = comm::Mpi::join(comm::Local::PATIENCE).map_err(parallel::Error::from)?;
    Ok(Box::new(joined))
}

#[cfg(not(feature = "mpi"))]
fn join_mpi(variable: &str, processes: u64) -> Result<Box<dyn Comm>> {
    Err(Fault::usage(format!(
        "{variable} is {processes}: this program was built without MPI; build it with `cargo build \
         --release --features mpi`, or let one process use this machine's devices, with --device \
         cpu,cpu --parallel data"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_say_how_many_there_are() {
        let read = |name: &'static str, size: &str| {
            Launch::read(|asked| (asked == name).then(|| size.to_string()))
        };
        let (variable, processes) = ("PMI_SIZE", 4);
        assert_eq!(read("PMI_SIZE", "4"), Ok(Launch::Mpi { variable, processes }));
        assert_eq!(read("PMI_SIZE", "1"), Ok(Launch::Alone));
        assert_eq!(read("SHLVL", "2"), Ok(Launch::Alone));
        let slurm = |name: &str| match name {
            "SLURM_PROCID" | "SLURM_LOCALID" => Some("1".to_string()),
            "SLURM_NTASKS" | "PMI_SIZE" => Some("2".to_string()),
            "SLURM_STEP_NODELIST" | "MASTER_PORT" => Some("7".to_string()),
            _ => None,
        };
        let told = Launch::read(slurm).unwrap();
        assert_eq!(matches!(told, Launch::Cards(_)), cfg!(not(feature = "mpi")), "{told:?}");
        let mpirun = |name: &str| match name {
            "OMPI_COMM_WORLD_SIZE" => Some("2".to_string()),
            other => slurm(other),
        };
        assert!(matches!(Launch::read(mpirun), Ok(Launch::Mpi { processes: 2, .. })));
    }
}
