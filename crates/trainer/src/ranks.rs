//! This process among those of its run: what a program says of it, and to whom.
//!
//! A launcher may have started several ([`parallel::processes`]). The first reads what belongs to
//! the run and shares it, writes and speaks. Whatever is not this process's place or its engine is
//! the same for one process and for many.

use crate::cli::Exchange;
use crate::cli::ProgressKind;
use crate::console;
use crate::fault::{Fault, Result};
use crate::settings::Settings;
use evaluate::Stop;
use evaluate::observe::Observer;
use parallel::processes::{Error, Group, launch};
use std::path::Path;
use terminal::progress::{self, Reading};
use terminal::signals;

/// This process among those of its run.
#[derive(Default)]
pub struct Ranks {
    /// All of them, if this is not the only one.
    pub group: Option<Group>,
}

impl Ranks {
    /// Finds the other processes, if a launcher started some.
    ///
    /// # Errors
    /// Exit code 2 if this program cannot talk to them, 6 if it needs a card or NCCL for that, 1 if
    /// they cannot be reached.
    pub fn join() -> Result<Ranks> {
        Ok(Ranks { group: Group::join()? })
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.group.is_none()
    }

    /// Which of them this is, and how many there are.
    pub fn place(&self) -> (usize, usize) {
        self.group.as_ref().map_or((0, 1), |group| (group.rank(), group.world()))
    }

    /// Which of them this is.
    pub fn rank(&self) -> usize {
        self.place().0
    }

    /// Whether this is the one that writes and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// How many there are.
    pub fn world(&self) -> usize {
        self.place().1
    }

    /// Whether all go on with a run, or all begin one.
    ///
    /// # Errors
    /// Exit code 2 in all of them, with the rank that does not do what the first does.
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

    /// Who shows progress, and who says what is read: the first process as asked, the others next
    /// to nothing.
    pub fn observer(&self, kind: ProgressKind) -> (Box<dyn Observer>, Reading) {
        match self.rank() {
            0 => (progress::observer(kind), Reading::new(kind)),
            rank => (Box::new(Mate(rank)), Reading::of_rank(rank)),
        }
    }

    /// The text of a file of the run that is resumed, which only the first process need see.
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

    /// What of the settings is this process's own: its device and its share of the host's cores.
    /// `None` if it is alone.
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
        check_exchange(settings.exchange, group.card())?;
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
        let other = || other_card(&settings.device, group.card());
        own.device = group.device(&settings.device).ok_or_else(other)?;
        Ok(Some(own))
    }

    /// Listens for what its launcher says beside the signals that every process knows.
    ///
    /// # Errors
    /// Exit code 1 if the system refuses a handler.
    pub fn listen(&self, stop: &Stop) -> Result<()> {
        let is_open_mpi = std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some();
        match is_open_mpi && !self.is_alone() {
            true => Ok(signals::listen_for_mpirun(stop)?),
            false => Ok(()),
        }
    }
}

/// Refuses to be one of several processes, for verbs whose runs are one process's.
///
/// # Errors
/// Exit code 2 if a launcher started several: each would make runs of its own.
pub fn check_alone() -> Result<()> {
    let Some((launcher, processes)) = launch::started()? else { return Ok(()) };
    Err(Fault::usage(format!(
        "{launcher} is {processes}: these runs are one process's; start it without a launcher, or \
         train with `alexnet train`"
    )))
}

/// Processes exchange by the way on which they met: those with a card through NCCL, others through
/// MPI.
fn check_exchange(asked: Exchange, card: Option<usize>) -> Result<()> {
    match (asked, card) {
        (Exchange::Host, _) | (Exchange::Nccl, Some(_)) => Ok(()),
        (Exchange::Nccl, None) => Err(Fault::usage(
            "--exchange nccl: processes that mpirun starts exchange through MPI: say --exchange \
             host, or start them with torchrun or srun, to exchange through NCCL",
        )),
    }
}

/// Another device was named than the card through which this process has joined the others.
fn other_card(typed: &str, joined: Option<usize>) -> Fault {
    let joined = joined.map_or("another card".to_string(), |card| format!("cuda:{card}"));
    Fault::usage(format!(
        "--device {typed}: this process exchanges through {joined}, the card with its number on \
         its host; leave --device out"
    ))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let told = error.to_string();
        match error {
            Error::Parallel(error) => error.into(),
            Error::WithoutMpi { .. } => Fault::usage(format!(
                "{told}; build it with `cargo build --release --features mpi`, or let one process \
                 use this machine's devices, with --device cpu,cpu --parallel data"
            )),
            Error::NoCard { source, .. } => Fault {
                message: format!("{told}, or one process with --device cpu,cpu"),
                ..source.into()
            },
            _ => Fault::usage(told),
        }
    }
}

/// Whoever watches a process that is not the first: it says what it waits for, by its rank.
struct Mate(usize);

impl Observer for Mate {
    fn stalled(&mut self, stalled: &data::Stalled) {
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
    fn processes_exchange_as_they_have_met() {
        for (asked, card, is_fine) in [
            (Exchange::Host, None, true),
            (Exchange::Host, Some(0), true), // nobody asked for anything
            (Exchange::Nccl, Some(1), true),
            (Exchange::Nccl, None, false),
        ] {
            let checked = check_exchange(asked, card);
            assert_eq!(checked.is_ok(), is_fine, "{checked:?}");
        }
        assert_eq!(check_exchange(Exchange::Nccl, None).unwrap_err().code, 2);
    }

    #[test]
    fn another_device_than_the_card_that_joined_is_refused() {
        let Fault { code, message } = other_card("cuda:0", Some(1));
        assert!(code == 2 && message.contains("exchanges through cuda:1"), "{message}");
    }
}
