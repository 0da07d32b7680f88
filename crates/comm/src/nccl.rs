//! GPUs that exchange what they have by themselves, through NCCL: by their own links where there
//! are some, by the network where they are of several hosts.
//!
//! To start is to tell the GPU's exchange stream, to wait is to have the GPU's work come after
//! what has been exchanged: the host waits for neither. NCCL is found when the program runs.
//!
//! What it cannot do that others can: it notices only by its silence that a rank is gone, and does
//! not tell which; of ranks that start different things it notices nothing before that, if at all.
//! And it adds up in an order of its own. All ranks have the same bits, and the same number of
//! GPUs, wired the same way, has the same bits in every run; but among more than two they are not
//! those of the other engines. What is sent, gathered or broadcast arrives as it is.

#[cfg(test)]
mod tests;

use crate::rendezvous::{self, Launch};
use crate::work::Count;
use crate::{Comm, Error, Fate, Handle, Result, Traffic, Work};
use std::collections::VecDeque;
use std::ops::Range;
use std::thread;
use std::time::Duration;
use tensor::nccl::{self, Communicator, Ended, Group, Id};
use tensor::{Cuda, Device};

/// A GPU's rank in a world of GPUs.
///
/// Sends and receives wait until this rank has started one of each with the same other rank, or
/// something else, or waits for one: then they set out together. So between two ranks what both
/// start must come in the same order on both, collectives among it. It is said of nothing else.
#[derive(Debug)]
pub struct Nccl {
    rank: usize,
    world: usize,
    started: u64,
    /// Sends and receives that have not set out.
    gathered: Vec<Work>,
    /// What has, the oldest first.
    flights: VecDeque<Flight>,
    traffic: Traffic,
    link: Communicator,
}

/// What set out together.
#[derive(Debug)]
struct Flight {
    numbers: Range<u64>,
    /// How many of them have been waited for.
    waited: u64,
    ended: Ended,
}

impl Nccl {
    /// All ranks of one process, in the order of their GPUs.
    ///
    /// # Errors
    /// [`tensor::Error::Nccl`] if there is no NCCL, or it is too old; [`Error::Lost`];
    /// [`Error::Device`].
    ///
    /// # Panics
    /// If a device is no GPU.
    pub fn world(devices: &mut [Device], timeout: Duration) -> Result<Vec<Nccl>> {
        Nccl::world_of(nccl::Nccl::find()?, devices, timeout)
    }

    fn world_of(
        library: &'static nccl::Nccl,
        devices: &mut [Device],
        timeout: Duration,
    ) -> Result<Vec<Nccl>> {
        let (id, world) = (library.new_id()?, devices.len());
        // All at once, since each waits for the others.
        let joined: Vec<Result<Nccl>> = thread::scope(|scope| {
            let join = |(rank, device)| {
                scope.spawn(move || Nccl::join(library, &id, device, (rank, world), timeout))
            };
            let threads: Vec<_> = devices.iter_mut().enumerate().map(join).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        joined.into_iter().collect()
    }

    /// The rank of this process among those that a launcher started, each with a GPU.
    ///
    /// # Errors
    /// As [`world`](Self::world); [`Error::Rendezvous`] if the ranks do not find each other.
    ///
    /// # Panics
    /// If the device is no GPU.
    pub fn connect(device: &mut Device, launch: &Launch, timeout: Duration) -> Result<Nccl> {
        let library = nccl::Nccl::find()?;
        let own = if launch.rank == 0 { Some(library.new_id()?) } else { None };
        let given = own.as_ref().map_or(&[][..], Id::as_bytes);
        let id = rendezvous::meet(launch, given, timeout)?;
        let id = Id::from_bytes(&id).ok_or_else(|| {
            Error::Rendezvous("rank 0 is of another version of this program".to_string())
        })?;
        Nccl::join(library, &id, device, (launch.rank, launch.world), timeout)
    }

    fn join(
        library: &'static nccl::Nccl,
        id: &Id,
        device: &mut Device,
        (rank, world): (usize, usize),
        timeout: Duration,
    ) -> Result<Nccl> {
        let joined = Communicator::join(gpu(device), library, id, (rank, world), timeout);
        Ok(Nccl {
            rank,
            world,
            started: 0,
            gathered: Vec::new(),
            flights: VecDeque::new(),
            traffic: Traffic::default(),
            link: joined.map_err(|error| lost(error, rank, world))?,
        })
    }

    /// Whether a send and a receive of the same two ranks are ready: neither will wait for more.
    fn is_exchange(&self) -> bool {
        let sends = |peer| {
            self.gathered.iter().any(|work| matches!(work, Work::Send { to, .. } if *to == peer))
        };
        self.gathered.iter().any(|work| matches!(work, Work::Recv { from, .. } if sends(*from)))
    }

    /// Has all that is gathered set out.
    fn set_out(&mut self, device: &mut Device) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let Nccl { gathered, link, .. } = self;
        let started =
            link.start(gpu(device), |group| gathered.iter().try_for_each(|work| ask(group, work)));
        let ended = started.map_err(|error| self.told(error))?;
        let first = self.started + 1 - self.gathered.len() as u64;
        self.gathered.clear();
        self.flights.push_back(Flight { numbers: first..self.started + 1, waited: 0, ended });
        Ok(())
    }

    fn told(&self, error: tensor::Error) -> Error {
        lost(error, self.rank, self.world)
    }
}

/// Of two ranks it is known which is silent.
fn lost(error: tensor::Error, rank: usize, world: usize) -> Error {
    match error {
        tensor::Error::Unanswered { seconds } if world == 2 => {
            Error::Lost { rank: 1 - rank, fate: Fate::Silent(seconds) }
        }
        error => Error::Device(error),
    }
}

fn gpu(device: &mut Device) -> &mut Cuda {
    match device {
        Device::Cuda(cuda) => cuda,
        Device::Cpu(_) => panic!("NCCL is for GPUs"),
    }
}

/// Nothing is asked of NCCL for slots without floats.
fn ask(group: &mut Group<'_>, work: &Work) -> tensor::Result<()> {
    match *work {
        Work::AllReduce { x } | Work::Broadcast { x, .. } if x.is_empty() => Ok(()),
        Work::ReduceScatter { block, .. } | Work::AllGather { block, .. } if block.is_empty() => {
            Ok(())
        }
        Work::Send { x, .. } | Work::Recv { x, .. } if x.is_empty() => Ok(()),
        Work::AllReduce { x } => group.all_reduce(x),
        Work::ReduceScatter { x, block } => group.reduce_scatter(x, block),
        Work::AllGather { block, y } => group.all_gather(block, y),
        Work::Broadcast { x, root } => group.broadcast(x, root),
        Work::Send { x, to } => group.send(x, to),
        Work::Recv { x, from } => group.recv(x, from),
        Work::Barrier => group.barrier(),
    }
}

impl Comm for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    /// As if each rank sent to each what it has for it: a ring sends as much, but for sums of which
    /// every rank has all, where it sends less. What NCCL really does is its own affair.
    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.link.set_timeout(timeout);
    }

    fn start(&mut self, device: &mut Device, work: Work) -> Result<Handle> {
        work.check(self.rank, self.world);
        let is_pairwise = matches!(work, Work::Send { .. } | Work::Recv { .. });
        if !is_pairwise {
            self.set_out(device)?;
        }
        self.started += 1;
        self.traffic.add(&work, self.rank, self.world);
        self.gathered.push(work);
        if !is_pairwise || self.is_exchange() {
            self.set_out(device)?;
        }
        Ok(Handle { work, number: self.started })
    }

    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()> {
        let Handle { work, number } = handle;
        if number + self.gathered.len() as u64 > self.started {
            self.set_out(device)?;
        }
        let found = self.flights.iter().position(|flight| flight.numbers.contains(&number));
        let at = found.expect("a handle is waited for once");
        let flight = &mut self.flights[at];
        flight.waited += 1;
        let followed = self.link.follow(gpu(device), &flight.ended);
        if flight.waited == flight.numbers.end - flight.numbers.start {
            let over = self.flights.remove(at).expect("it was found");
            self.link.recycle(over.ended);
        }
        followed.map_err(|error| self.told(error))?;
        match work {
            // Others must have come there when this returns, not only when the GPU does.
            Work::Barrier => gpu(device).synchronize().map_err(|error| self.told(error)),
            _ => Ok(()),
        }
    }
}
