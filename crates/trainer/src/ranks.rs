//! The processes of a run: which there are, and through which engine they talk.
//!
//! A launcher says in the environment that it has started several ([`launch`]). They find each
//! other before anything is read ([`Ranks::join`]); the first reads what belongs to the run and
//! shares it; all compare what they are about to do ([`meeting`]); then the engine is the step's.
//! Whatever is not this process's place or its engine is the same for one process and for many.

mod launch;
mod meeting;

pub use launch::check_alone;
pub use meeting::Member;

use crate::cli::ProgressKind;
use crate::cli::{Exchange, Parallel};
use crate::console;
use crate::fault::{Fault, Result};
use crate::run_file;
use crate::settings::Settings;
use comm::{Comm, Local, bytes};
use evaluate::Stop;
use evaluate::observe::Observer;
use launch::Joined;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tensor::{Choice, DType, Device, Planner, Shape, Slot};
use terminal::progress::{self, Reading};
use terminal::signals;
use train::checkpoint::Checkpoint;

/// This process among those of its run.
#[derive(Default)]
pub struct Ranks {
    others: Option<Others>,
}

/// The way to the others, until the run has it.
struct Others {
    comm: Box<dyn Comm>,
    /// What they say goes through host memory, or through the card that joined them.
    desk: Device,
    room: Slot,
    host: Host,
    /// The number of that card.
    card: Option<usize>,
}

/// This process among those of its host.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    name: String,
    /// Its number among them.
    rank: usize,
    /// Processes that may use the same cores as this one.
    sharing: usize,
}

/// Until the first step the ranks wait for each other as long as reading and measuring images may
/// take; from then on, as long as any ranks do.
const PREPARATION: Duration = Duration::from_secs(3600);

/// Floats that are on their way at a time.
const ROOM: usize = 1 << 20;

impl Ranks {
    /// Finds the other processes, if a launcher started some.
    ///
    /// # Errors
    /// Exit code 2 if this program cannot talk to them, 1 if they cannot be reached.
    pub fn join() -> Result<Ranks> {
        match launch::join()? {
            None => Ok(Ranks::default()),
            Some(Joined { comm, desk, card }) => Ranks::with(comm, desk, card),
        }
    }

    fn with(comm: Box<dyn Comm>, mut desk: Device, card: Option<usize>) -> Result<Ranks> {
        let mut planner = Planner::new();
        let room = planner.claim(DType::F32, Shape::from([ROOM]));
        desk.reserve(planner.total())?;
        let host = Host { name: String::new(), rank: 0, sharing: 1 };
        let mut others = Others { comm, desk, room, host, card };
        let all = others.gather(format!("{}\n{}", host_name(), cores()).as_bytes())?;
        others.host = Host::of(others.comm.rank(), &all);
        others.comm.set_patience(PREPARATION);
        Ok(Ranks { others: Some(others) })
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.others.is_none()
    }

    /// Which of them this is.
    pub fn rank(&self) -> usize {
        self.others.as_ref().map_or(0, |others| others.comm.rank())
    }

    /// Whether this is the one that writes and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// How many there are.
    pub fn world(&self) -> usize {
        self.others.as_ref().map_or(1, |others| others.comm.world())
    }

    /// What the first process alone can see, as every one is told it; alone, nothing is asked.
    ///
    /// # Errors
    /// What `first` ends with; exit code 1 if a rank is lost.
    pub fn share(&mut self, first: impl FnOnce() -> Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let is_first = self.is_first();
        let Some(Others { comm, desk, room, .. }) = &mut self.others else { return Ok(None) };
        let mut told = if is_first { first()? } else { Vec::new() };
        bytes::broadcast(&mut **comm, (desk, *room), 0, &mut told)
            .map_err(parallel::Error::from)?;
        Ok(Some(told))
    }

    /// Whether all go on with a run, or all begin one.
    ///
    /// # Errors
    /// Exit code 2 in all of them, with the rank that does not do what the first does.
    pub fn check_resumed(&mut self, is_resumed: bool) -> Result<()> {
        let Some(others) = &mut self.others else { return Ok(()) };
        let all = others.gather(&[u8::from(is_resumed)])?;
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
        let Some(run) = run else { return Ok(None) };
        let path = run.join(name);
        let read = || {
            let failed = |error| Fault::usage(format!("{}: cannot read: {error}", path.display()));
            files::read(&path).map_err(failed)
        };
        let text = self.share(read)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// The checkpoint that the first process found, for all of them.
    ///
    /// # Errors
    /// Exit code 4 if what arrives is not what was written.
    pub fn checkpoint(&mut self, found: Option<Checkpoint>) -> Result<Option<Checkpoint>> {
        let path = found.as_ref().map(|found| found.path.clone());
        let name = path.as_ref().map_or(String::new(), |path| path.display().to_string());
        let Some(name) = self.share(|| Ok(name.into_bytes()))? else { return Ok(found) };
        if name.is_empty() {
            return Ok(None);
        }
        let read = || {
            let path = path.unwrap_or_default();
            files::read(&path).map_err(|error| run_file::unreadable(&path, error))
        };
        let bytes = self.share(read)?.unwrap_or_default();
        match found {
            Some(found) => Ok(Some(found)),
            None => {
                let name = String::from_utf8_lossy(&name);
                Ok(Some(Checkpoint::from_file(&bytes, Path::new(&*name))?))
            }
        }
    }

    /// What of the settings is this process's own: its device and its share of the host's cores.
    /// `None` if it is alone.
    ///
    /// # Errors
    /// Exit code 2 if the settings are not for several processes.
    pub fn own(&self, settings: &Settings) -> Result<Option<Settings>> {
        let Some(Others { host, comm, card, .. }) = &self.others else { return Ok(None) };
        let world = comm.world();
        if settings.parallel.is_none() {
            return Err(Fault::usage(format!(
                "{world} processes: say how they share the work, with --parallel data, towers or \
                 hybrid"
            )));
        }
        check_exchange(settings.exchange, *card)?;
        if settings.device.contains(',') {
            return Err(Fault::usage(format!(
                "--device {}: each of {world} processes has one device; say --device auto, and \
                 start a process for each of them",
                settings.device
            )));
        }
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let share = |typed: usize| match typed {
            0 => (available / host.sharing).max(1),
            typed => typed,
        };
        let mut own = settings.clone();
        (own.threads, own.workers) = (share(settings.threads), share(settings.workers));
        let has_card = |card| Device::open(Choice::Cuda(card), 1).is_ok();
        own.device = match card {
            None => host.device(&settings.device, &has_card),
            Some(card) => the_card(*card, &settings.device)?,
        };
        Ok(Some(own))
    }

    /// Which mode shares the work among processes, and this one's place.
    pub fn place(&self) -> (usize, usize) {
        (self.rank(), self.world())
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

    /// Hands over the engine: from now on ranks do not wait for each other for long.
    pub fn into_comm(self) -> Option<Box<dyn Comm>> {
        self.others.map(|Others { mut comm, .. }| {
            comm.set_patience(Local::PATIENCE);
            comm
        })
    }
}

impl Others {
    fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = bytes::gather(&mut *self.comm, (&mut self.desk, self.room), own);
        Ok(all.map_err(parallel::Error::from)?)
    }
}

impl Host {
    /// From what every rank says of itself: its host's name, and the cores it may use.
    fn of(rank: usize, all: &[Vec<u8>]) -> Host {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let own = text(&all[rank]);
        let (name, _) = own.split_once('\n').unwrap_or((&own, ""));
        let here = |other: &Vec<u8>| text(other).split('\n').next() == Some(name);
        Host {
            name: name.to_string(),
            rank: all[..rank].iter().filter(|other| here(other)).count(),
            sharing: all.iter().filter(|other| text(other) == own).count(),
        }
    }

    /// The device that is meant: with cards, each process of a host has its own.
    fn device(&self, typed: &str, has_card: &dyn Fn(usize) -> bool) -> String {
        let own = format!("cuda:{}", self.rank);
        match typed {
            "cuda" => own,
            "auto" if has_card(self.rank) => own,
            // Some launchers show each process its own card alone.
            "auto" if self.rank > 0 && has_card(0) => "cuda:0".to_string(),
            "auto" => "cpu".to_string(),
            other => other.to_string(),
        }
    }
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

/// The card through which this process has joined the others.
fn the_card(card: usize, typed: &str) -> Result<String> {
    let own = format!("cuda:{card}");
    match typed {
        "auto" | "cuda" => Ok(own),
        typed if typed == own => Ok(own),
        typed => Err(Fault::usage(format!(
            "--device {typed}: this process exchanges through {own}, the card with its number on \
             its host; leave --device out"
        ))),
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_string()
}

/// The cores that the launcher lets this process use, as the system writes them.
fn cores() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_string()
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

/// `towers`, `data` or `hybrid`.
pub fn name_of(parallel: Option<Parallel>) -> &'static str {
    match parallel {
        Some(Parallel::Towers) => "towers",
        Some(Parallel::Data) => "data",
        Some(Parallel::Hybrid) => "hybrid",
        None => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_the_card_through_which_it_joined() {
        assert_eq!(the_card(1, "auto"), Ok("cuda:1".to_string()));
        assert_eq!(the_card(1, "cuda:1"), Ok("cuda:1".to_string()));
        let told = the_card(1, "cuda:0").unwrap_err();
        assert!(told.code == 2 && told.message.contains("exchanges through cuda:1"), "{told:?}");
        assert!(the_card(0, "cpu").is_err());
    }

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
    fn processes_of_a_host_share_its_cores_and_each_has_a_card() {
        // Two hosts; on the second a launcher has bound each process to cores of its own.
        let all = ["a\n0-7", "b\n0-3", "a\n0-7", "b\n4-7", "a\n0-7"].map(|text| text.into());
        let host = |rank| Host::of(rank, &all);
        let of = |name: &str, rank, sharing| Host { name: name.to_string(), rank, sharing };
        assert_eq!([host(0), host(4)], [of("a", 0, 3), of("a", 2, 3)]);
        assert_eq!([host(1), host(3)], [of("b", 0, 1), of("b", 1, 1)]);
        assert_eq!(host(2).device("auto", &|card| card < 2), "cuda:1");
        assert_eq!(host(4).device("auto", &|card| card < 1), "cuda:0");
        assert_eq!(host(4).device("auto", &|_| false), "cpu");
        assert_eq!(host(4).device("cuda", &|_| false), "cuda:2");
        assert_eq!(host(4).device("cuda:0", &|_| false), "cuda:0");
    }
}
