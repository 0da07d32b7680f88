//! Launchers: mpirun, torchrun and srun, as their environment variables show them.

use super::error::Error;
use comm::{Comm, Nccl, rendezvous};
use std::time::Duration;
use tensor::{Choice, Device};

/// How this process was started.
#[derive(Debug, PartialEq, Eq)]
enum Launch {
    Alone,
    Mpi {
        variable: &'static str,
        processes: u64,
    },
    /// torchrun or srun: processes with a GPU each.
    Gpus(rendezvous::Launch),
}

impl Launch {
    /// mpirun may run inside a Slurm job, whose variables are then set, too; srun may also set
    /// those of PMI.
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
                let gpus = rendezvous::Launch::from_variables(&variable)?;
                Ok(gpus.map(Launch::Gpus).or(pmi).unwrap_or(Launch::Alone))
            }
        }
    }
}

/// How long a launcher may take to start all of them.
const ARRIVAL: Duration = Duration::from_secs(300);

/// A process that is connected to the others.
pub(super) struct Joined {
    pub(super) comm: Box<dyn Comm>,
    /// The device that messages go through: the CPU, or the GPU that the communicator is on.
    pub(super) staging: Device,
    /// The index of that GPU.
    pub(super) gpu: Option<usize>,
}

/// Connects to the others, if a launcher has started some.
///
/// # Errors
/// [`Error::WithoutMpi`] and [`Error::NoGpu`] if this program or machine lacks the means;
/// [`Error::Parallel`] if NCCL is missing or a process cannot be reached.
pub(super) fn join() -> Result<Option<Joined>, Error> {
    match Launch::read(|name| std::env::var(name).ok())? {
        Launch::Alone => Ok(None),
        Launch::Mpi { variable, processes } => {
            let comm = join_mpi(variable, processes)?;
            Ok(Some(Joined { comm, staging: Device::cpu(1), gpu: None }))
        }
        Launch::Gpus(launch) => {
            let (gpu, mut staging) = own_gpu(&launch)?;
            let comm = Nccl::connect(&mut staging, &launch, ARRIVAL).map_err(crate::Error::from)?;
            Ok(Some(Joined { comm: Box::new(comm), staging, gpu: Some(gpu) }))
        }
    }
}

/// Whether a launcher has started several processes: the variable that shows it, and their number.
///
/// # Errors
/// [`Error::Comm`](crate::Error::Comm) if the launcher's variables contradict each other.
pub fn started() -> crate::Result<Option<(&'static str, u64)>> {
    Ok(match Launch::read(|name| std::env::var(name).ok())? {
        Launch::Alone => None,
        Launch::Mpi { variable, processes } => Some((variable, processes)),
        Launch::Gpus(launch) => Some(("the number of processes", launch.world as u64)),
    })
}

/// The GPU of a process that torchrun or srun has started: the one with its local rank, or the only
/// visible one.
///
/// # Errors
/// [`Error::NoGpu`].
fn own_gpu(launch: &rendezvous::Launch) -> Result<(usize, Device), Error> {
    let open = |gpu| Device::open(Choice::Cuda(gpu), 1);
    let opened = match open(launch.local) {
        Ok(gpu) => Ok((launch.local, gpu)),
        Err(_) if launch.local > 0 && open(1).is_err() => open(0).map(|gpu| (0, gpu)),
        Err(error) => Err(error),
    };
    let &rendezvous::Launch { rank, world, .. } = launch;
    opened.map_err(|source| Error::NoGpu { rank, world, source })
}

#[cfg(feature = "mpi")]
fn join_mpi(_: &str, _: u64) -> crate::Result<Box<dyn Comm>> {
    Ok(Box::new(comm::Mpi::join(comm::Local::TIMEOUT)?))
}

#[cfg(not(feature = "mpi"))]
fn join_mpi(variable: &'static str, processes: u64) -> Result<Box<dyn Comm>, Error> {
    Err(Error::WithoutMpi { variable, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_set_the_number_of_processes() {
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
        let launch = Launch::read(slurm).unwrap();
        assert_eq!(matches!(launch, Launch::Gpus(_)), cfg!(not(feature = "mpi")), "{launch:?}");
        let mpirun = |name: &str| match name {
            "OMPI_COMM_WORLD_SIZE" => Some("2".to_string()),
            other => slurm(other),
        };
        assert!(matches!(Launch::read(mpirun), Ok(Launch::Mpi { processes: 2, .. })));
    }
}
