//! This process among the processes of its run, with the program's flags and exit codes.
//!
//! A launcher may have started several ([`parallel::processes`]). Rank 0 reads the run's files,
//! broadcasts them, and alone writes and prints. Only the rank and the communicator differ between
//! processes.

use crate::cli::Exchange;
use crate::console;
use crate::fault::{Fault, Result};
use crate::settings::Settings;
use evaluate::Stop;
use evaluate::observe::Observer;
use parallel::processes::{Error, Group, launch};
use std::path::Path;
use terminal::progress::{self, Progress, Reading};
use terminal::signals;

/// This process among the processes of its run.
#[derive(Default)]
pub struct Ranks {
    /// All processes, if there are several.
    pub group: Option<Group>,
}

impl Ranks {
    /// Connects to the other processes, if a launcher has started some.
    ///
    /// # Errors
    /// Exit code 2 if this program is built without MPI, 6 if a GPU or NCCL is missing, 1 if a
    /// process cannot be reached.
    pub fn join() -> Result<Ranks> {
        Ok(Ranks { group: Group::join()? })
    }

    /// Whether this is the only process.
    pub fn is_alone(&self) -> bool {
        self.group.is_none()
    }

    /// The rank, and the number of processes.
    pub fn place(&self) -> (usize, usize) {
        self.group.as_ref().map_or((0, 1), |group| (group.rank(), group.world()))
    }

    /// The rank.
    pub fn rank(&self) -> usize {
        self.place().0
    }

    /// The number of processes.
    pub fn world(&self) -> usize {
        self.place().1
    }

    /// Checks that all processes resume a run, or all start one.
    ///
    /// # Errors
    /// Exit code 2 in all of them, with the first rank that differs.
    pub fn check_resumed(&mut self, is_resumed: bool) -> Result<()> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let all = group.gather(&[u8::from(is_resumed)])?;
        let Some(rank) = all.iter().position(|other| *other != all[0]) else { return Ok(()) };
        let [goes_on, begins] = if all[0] == [1] { [0, rank] } else { [rank, 0] };
        Err(Fault::usage(format!(
            "rank {goes_on} would go on with a run (--resume) and rank {begins} begin one: start \
             all with the same command"
        )))
    }

    /// The observers of training and of reading data: as requested in rank 0; the other ranks
    /// report only what they wait for.
    pub fn observer(&self, kind: Progress) -> (Box<dyn Observer>, Reading) {
        match self.rank() {
            0 => (progress::observer(kind), Reading::new(kind)),
            rank => (Box::new(RankObserver(rank)), Reading::of_rank(rank)),
        }
    }

    /// The text of a file of the run that is resumed; only rank 0 needs access to it.
    ///
    /// # Errors
    /// Exit code 2 if it cannot be read.
    pub fn read(&mut self, run: Option<&Path>, name: &str) -> Result<Option<String>> {
        let (Some(group), Some(run)) = (&mut self.group, run) else { return Ok(None) };
        let path = run.join(name);
        let failed = |error| Fault::usage(format!("{}: cannot read: {error}", path.display()));
        let text = group.share(|| files::read(&path).map_err(failed))?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The settings with this process's own device and its share of the host's cores. `None` if it
    /// is the only process.
    ///
    /// # Errors
    /// Exit code 2 if the settings are not for several processes.
    pub fn own(&self, settings: &Settings) -> Result<Option<Settings>> {
        let Some(group) = &self.group else { return Ok(None) };
        let world = group.world();
        if settings.parallel.is_none() {
            return Err(Fault::usage(format!(
                "{world} processes: say how they share the work, with --parallel data, towers or \
                 hybrid"
            )));
        }
        check_exchange(settings.exchange, group.gpu())?;
        if settings.device.contains(',') {
            return Err(Fault::usage(format!(
                "--device {}: each of {world} processes has one device; say --device auto, and \
                 start a process for each of them",
                settings.device
            )));
        }
        let share = |typed: usize| if typed == 0 { group.cores() } else { typed };
        let mut own = settings.clone();
        (own.threads, own.workers) = (share(settings.threads), share(settings.workers));
        let other = || other_device(&settings.device, group.gpu());
        own.device = group.device(&settings.device).ok_or_else(other)?;
        Ok(Some(own))
    }

    /// Handles the signals of mpirun, beside those that every process handles.
    ///
    /// # Errors
    /// Exit code 1 if the system refuses a handler.
    pub fn listen(&self, stop: &Stop) -> Result<()> {
        let is_open_mpi = std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some();
        if is_open_mpi && !self.is_alone() { Ok(signals::listen_for_mpirun(stop)?) } else { Ok(()) }
    }
}

/// Refuses a launch as one of several processes, for commands that run in one process.
///
/// # Errors
/// Exit code 2 if a launcher has started several: each would make runs of its own.
pub fn check_alone() -> Result<()> {
    let Some((launcher, processes)) = launch::started()? else { return Ok(()) };
    Err(Fault::usage(format!(
        "{launcher} is {processes}: these runs are one process's; start it without a launcher, or \
         train with `alexnet train`"
    )))
}

/// Processes exchange through the library that connects them: NCCL between GPUs, or MPI.
fn check_exchange(asked: Exchange, gpu: Option<usize>) -> Result<()> {
    match (asked, gpu) {
        (Exchange::Host, _) | (Exchange::Nccl, Some(_)) => Ok(()),
        (Exchange::Nccl, None) => Err(Fault::usage(
            "--exchange nccl: processes that mpirun starts exchange through MPI: say --exchange \
             host, or start them with torchrun or srun, to exchange through NCCL",
        )),
    }
}

/// The named device is not the GPU that the communicator is on.
fn other_device(typed: &str, gpu: Option<usize>) -> Fault {
    let gpu = gpu.map_or("another GPU".to_string(), |gpu| format!("cuda:{gpu}"));
    Fault::usage(format!(
        "--device {typed}: this process exchanges through {gpu}, the GPU with its local rank; \
         leave --device out"
    ))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let message = error.to_string();
        match error {
            Error::Parallel(error) => error.into(),
            Error::WithoutMpi { .. } => Fault::usage(format!(
                "{message}; build it with `cargo build --release --features mpi`, or let one \
                 process use this machine's devices, with --device cpu,cpu --parallel data"
            )),
            Error::NoGpu { source, .. } => Fault {
                message: format!("{message}, or one process with --device cpu,cpu"),
                ..source.into()
            },
            _ => Fault::usage(message),
        }
    }
}

/// The observer of a rank above 0: it reports what the rank waits for.
struct RankObserver(usize);

impl Observer for RankObserver {
    fn stalled(&mut self, stalled: &data::StalledRead) {
        console::note(format_args!("rank {}: {stalled}", self.0));
    }

    fn take_warning(&mut self) -> Option<String> {
        console::take_trouble()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_exchange_through_what_connects_them() {
        for (asked, gpu, is_fine) in [
            (Exchange::Host, None, true),
            (Exchange::Host, Some(0), true), // the default
            (Exchange::Nccl, Some(1), true),
            (Exchange::Nccl, None, false),
        ] {
            let checked = check_exchange(asked, gpu);
            assert_eq!(checked.is_ok(), is_fine, "{checked:?}");
        }
        assert_eq!(check_exchange(Exchange::Nccl, None).unwrap_err().code, 2);
    }

    #[test]
    fn another_device_than_the_communicators_gpu_is_refused() {
        let Fault { code, message } = other_device("cuda:0", Some(1));
        assert!(code == 2 && message.contains("exchanges through cuda:1"), "{message}");
    }
}
