//! This process among those of its run, until the run itself has their engine.

use super::error::Error;
use super::host::{self, Host};
use super::launch::{self, Joined};
use super::meeting::{self, Member};
use crate::Result;
use comm::{Comm, Local, bytes};
use std::path::Path;
use std::time::Duration;
use tensor::{Choice, DType, Device, Planner, Shape, Slot};
use train::checkpoint::Checkpoint;

/// The processes of a run, which a launcher started.
#[derive(Debug)]
pub struct Group {
    comm: Box<dyn Comm>,
    /// What they say goes through host memory, or through the card that joined them.
    desk: Device,
    room: Slot,
    host: Host,
    /// The number of that card.
    card: Option<usize>,
}

/// Until the first step the ranks wait for each other as long as reading and measuring images may
/// take; from then on, as long as any ranks do.
const PREPARATION: Duration = Duration::from_secs(3600);

/// Floats that are on their way at a time.
const ROOM: usize = 1 << 20;

impl Group {
    /// Finds the other processes; `None` if no launcher started any.
    ///
    /// # Errors
    /// [`Error::WithoutMpi`] and [`Error::NoCard`] if they cannot be talked to from here;
    /// [`Error::Parallel`] if they cannot be reached.
    pub fn join() -> std::result::Result<Option<Group>, Error> {
        let Some(Joined { comm, mut desk, card }) = launch::join()? else { return Ok(None) };
        let mut planner = Planner::new();
        let room = planner.claim(DType::F32, Shape::from([ROOM]));
        desk.reserve(planner.total()).map_err(crate::Error::from)?;
        let mut group = Group { comm, desk, room, host: Host::default(), card };
        let all = group.gather(host::own().as_bytes())?;
        group.host = Host::of(group.rank(), &all);
        group.comm.set_patience(PREPARATION);
        Ok(Some(group))
    }

    /// Which of them this is.
    pub fn rank(&self) -> usize {
        self.comm.rank()
    }

    /// How many there are.
    pub fn world(&self) -> usize {
        self.comm.world()
    }

    /// The number of the card through which this process has joined the others, if it has joined
    /// through one.
    pub fn card(&self) -> Option<usize> {
        self.card
    }

    /// This process's share of the cores that it may use.
    pub fn cores(&self) -> usize {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        (available / self.host.sharing).max(1)
    }

    /// The name of this process's device, where `auto`, `cuda` or a device was named for all of
    /// them: with cards, each process of a host has its own. `None` if it is not the card through
    /// which it has joined.
    pub fn device(&self, named: &str) -> Option<String> {
        let has_card = |card| Device::open(Choice::Cuda(card), 1).is_ok();
        match self.card {
            None => Some(self.host.device(named, &has_card)),
            Some(card) => joined_card(card, named),
        }
    }

    /// What every process says, in the order of the ranks.
    ///
    /// # Errors
    /// [`Error::Comm`](crate::Error::Comm) if a rank is lost.
    pub fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(bytes::gather(&mut *self.comm, (&mut self.desk, self.room), own)?)
    }

    /// What the first process alone can see, as every one has it then.
    ///
    /// # Errors
    /// What `first` ends with; [`Error::Comm`](crate::Error::Comm) if a rank is lost.
    pub fn share<E: From<crate::Error>>(
        &mut self,
        first: impl FnOnce() -> std::result::Result<Vec<u8>, E>,
    ) -> std::result::Result<Vec<u8>, E> {
        let mut shared = if self.rank() == 0 { first()? } else { Vec::new() };
        let way = (&mut self.desk, self.room);
        bytes::broadcast(&mut *self.comm, way, 0, &mut shared).map_err(crate::Error::from)?;
        Ok(shared)
    }

    /// The checkpoint that the first process found, for all of them.
    ///
    /// # Errors
    /// [`train::Error::Checkpoint`] if it cannot be read, or what arrives is not what was written.
    pub fn checkpoint(&mut self, found: Option<Checkpoint>) -> train::Result<Option<Checkpoint>> {
        let path = found.as_ref().map_or(Path::new(""), |found| &found.path);
        let name = self.share(|| train::Result::Ok(path.display().to_string().into_bytes()))?;
        if name.is_empty() {
            return Ok(None);
        }
        let read = || {
            files::read(path).map_err(|error| train::Error::Checkpoint {
                path: path.into(),
                reason: format!("cannot read: {error}"),
            })
        };
        let bytes = self.share(read)?;
        match found {
            Some(found) => Ok(Some(found)),
            None => {
                let name = String::from_utf8_lossy(&name);
                Ok(Some(Checkpoint::from_file(&bytes, Path::new(&*name))?))
            }
        }
    }

    /// Meets the others, each with what it is about to do; gives all of them, and the bytes that
    /// those on this host take together.
    ///
    /// # Errors
    /// [`Error::Disagree`], in all processes, if one is about to do something else;
    /// [`Error::OtherProgram`] if one is not understood.
    pub fn meet(&mut self, own: Member) -> std::result::Result<(Vec<Member>, usize), Error> {
        let own = own.on_host(&self.host.name).to_json();
        let all = meeting::understand(&self.gather(&own)?).map_err(Error::OtherProgram)?;
        meeting::compare(&all)?;
        let bytes = meeting::bytes_on(&self.host.name, &all);
        Ok((all, bytes))
    }

    /// Hands over the engine: from now on ranks do not wait for each other for long.
    pub fn into_comm(self) -> Box<dyn Comm> {
        let mut comm = self.comm;
        comm.set_patience(Local::PATIENCE);
        comm
    }
}

/// The device of a process that has joined the others through a card.
fn joined_card(card: usize, named: &str) -> Option<String> {
    let own = format!("cuda:{card}");
    (matches!(named, "auto" | "cuda") || named == own).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_the_card_through_which_it_joined() {
        assert_eq!(joined_card(1, "auto").as_deref(), Some("cuda:1"));
        assert_eq!(joined_card(1, "cuda:1").as_deref(), Some("cuda:1"));
        assert_eq!(joined_card(1, "cuda:0"), None);
        assert_eq!(joined_card(0, "cpu"), None);
    }
}
