//! Who started this process, as one of how many, and how it finds the others.

use super::error::Error;
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
    fn read(variable: impl Fn(&str) -> Option<String>) -> crate::Result<Launch> {
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
                let cards = rendezvous::Launch::told(&variable)?;
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
/// [`Error::WithoutMpi`] and [`Error::NoCard`] if it cannot talk to them, [`Error::Parallel`] if
/// NCCL is missing or they cannot be reached.
pub(super) fn join() -> Result<Option<Joined>, Error> {
    match Launch::read(|name| std::env::var(name).ok())? {
        Launch::Alone => Ok(None),
        Launch::Mpi { variable, processes } => {
            let comm = join_mpi(variable, processes)?;
            Ok(Some(Joined { comm, desk: Device::cpu(1), card: None }))
        }
        Launch::Cards(launch) => {
            let (card, mut desk) = own_card(&launch)?;
            let comm = Nccl::meet(&mut desk, &launch, ARRIVAL).map_err(crate::Error::from)?;
            Ok(Some(Joined { comm: Box::new(comm), desk, card: Some(card) }))
        }
    }
}

/// Whether a launcher started several processes: what says so, and how many there are.
///
/// # Errors
/// [`Error::Comm`](crate::Error::Comm) if the launcher's variables contradict each other.
pub fn started() -> crate::Result<Option<(&'static str, u64)>> {
    Ok(match Launch::read(|name| std::env::var(name).ok())? {
        Launch::Alone => None,
        Launch::Mpi { variable, processes } => Some((variable, processes)),
        Launch::Cards(launch) => Some(("the number of processes", launch.world as u64)),
    })
}

/// The card of a process that torchrun or srun started: the one with its number on its host, or the
/// only one that it is shown.
///
/// # Errors
/// [`Error::NoCard`].
fn own_card(launch: &rendezvous::Launch) -> Result<(usize, Device), Error> {
    let open = |card| Device::open(Choice::Cuda(card), 1);
    let opened = match open(launch.local) {
        Ok(card) => Ok((launch.local, card)),
        Err(_) if launch.local > 0 && open(1).is_err() => open(0).map(|card| (0, card)),
        Err(error) => Err(error),
    };
    let &rendezvous::Launch { rank, world, .. } = launch;
    opened.map_err(|source| Error::NoCard { rank, world, source })
}

#[cfg(feature = "mpi")]
fn join_mpi(_: &str, _: u64) -> crate::Result<Box<dyn Comm>> {
    Ok(Box::new(comm::Mpi::join(comm::Local::PATIENCE)?))
}

#[cfg(not(feature = "mpi"))]
fn join_mpi(variable: &'static str, processes: u64) -> Result<Box<dyn Comm>, Error> {
    Err(Error::WithoutMpi { variable, processes })
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
        assert_eq!(read("PMI_SIZE", "4").unwrap(), Launch::Mpi { variable, processes });
        assert_eq!(read("PMI_SIZE", "1").unwrap(), Launch::Alone);
        assert_eq!(read("SHLVL", "2").unwrap(), Launch::Alone);
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
