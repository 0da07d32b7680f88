//! Direct communication of GPUs through NCCL: over their own links, or the network between hosts.
//!
//! `start` enqueues a collective on the GPU's communication stream; `wait` makes the GPU's compute
//! stream wait for it. The host waits for neither. NCCL is found when the program runs.
//!
//! Limits compared with the other implementations: a lost rank is noticed only by the timeout, and
//! not named among more than two; different collectives may not be noticed at all. NCCL also sums
//! in its own order. All ranks get bit-identical sums, and so does every run with the same number
//! and topology of GPUs; but with more than two GPUs they differ from those of other
//! implementations by rounding. Sends, gathers and broadcasts copy exactly.

#[cfg(test)]
mod tests;

use crate::collective::Count;
use crate::rendezvous::{self, Launch};
use crate::{Collective, Comm, Error, Fate, Handle, Result, Traffic};
use std::collections::VecDeque;
use std::ops::Range;
use std::thread;
use std::time::Duration;
use tensor::nccl::{self, Communicator, Ended, Group, Id};
use tensor::{Cuda, Device};

/// A GPU's rank in a world of GPUs.
///
/// Sends and receives are collected until this rank has started one of each with the same other
/// rank, or starts a collective, or waits; then they are launched together. Between two ranks,
/// sends, receives and collectives must therefore be started in the same order on both.
#[derive(Debug)]
pub struct Nccl {
    rank: usize,
    world: usize,
    started: u64,
    /// Sends and receives that have not been launched.
    collected: Vec<Collective>,
    /// Launched groups, the oldest first.
    launched: VecDeque<Launched>,
    traffic: Traffic,
    link: Communicator,
}

/// Collectives that were launched together.
#[derive(Debug)]
struct Launched {
    numbers: Range<u64>,
    /// The number of them that have been waited for.
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
        // On threads, since each waits for the others.
        let joined: Vec<Result<Nccl>> = thread::scope(|scope| {
            let join = |(rank, device)| {
                scope.spawn(move || Nccl::join(library, &id, device, rank, world, timeout))
            };
            let threads: Vec<_> = devices.iter_mut().enumerate().map(join).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        joined.into_iter().collect()
    }

    /// The rank of this process among those that a launcher started, each with a GPU.
    ///
    /// # Errors
    /// As [`world`](Self::world); [`Error::Rendezvous`] if the ranks cannot connect.
    ///
    /// # Panics
    /// If the device is no GPU.
    pub fn connect(device: &mut Device, launch: &Launch, timeout: Duration) -> Result<Nccl> {
        let library = nccl::Nccl::find()?;
        let own = if launch.rank == 0 { Some(library.new_id()?) } else { None };
        let given = own.as_ref().map_or(&[][..], Id::as_bytes);
        let id = rendezvous::broadcast(launch, given, timeout)?;
        let id = Id::from_bytes(&id).ok_or_else(|| {
            Error::Rendezvous("rank 0 runs another version of this program".to_string())
        })?;
        Nccl::join(library, &id, device, launch.rank, launch.world, timeout)
    }

    fn join(
        library: &'static nccl::Nccl,
        id: &Id,
        device: &mut Device,
        rank: usize,
        world: usize,
        timeout: Duration,
    ) -> Result<Nccl> {
        let joined = Communicator::join(gpu(device), library, id, rank, world, timeout);
        Ok(Nccl {
            rank,
            world,
            started: 0,
            collected: Vec::new(),
            launched: VecDeque::new(),
            traffic: Traffic::default(),
            link: joined.map_err(|error| lost(error, rank, world))?,
        })
    }

    /// Whether a send and a receive of the same two ranks have been collected.
    fn is_exchange(&self) -> bool {
        let sends = |peer| {
            self.collected
                .iter()
                .any(|collective| matches!(collective, Collective::Send { to, .. } if *to == peer))
        };
        self.collected
            .iter()
            .any(|collective| matches!(collective, Collective::Recv { from, .. } if sends(*from)))
    }

    /// Launches all that has been collected.
    fn launch(&mut self, device: &mut Device) -> Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let Nccl { collected, link, .. } = self;
        let started = link.start(gpu(device), |group| {
            collected.iter().try_for_each(|collective| call(group, collective))
        });
        let ended = started.map_err(|error| lost(error, self.rank, self.world))?;
        let first = self.started + 1 - self.collected.len() as u64;
        self.collected.clear();
        self.launched.push_back(Launched { numbers: first..self.started + 1, waited: 0, ended });
        Ok(())
    }
}

/// Of two ranks, the silent one is the other.
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

/// Calls NCCL, unless the slots are empty.
fn call(group: &mut Group<'_>, collective: &Collective) -> tensor::Result<()> {
    match *collective {
        Collective::AllReduce { x } | Collective::Broadcast { x, .. } if x.is_empty() => Ok(()),
        Collective::ReduceScatter { block, .. } | Collective::AllGather { block, .. }
            if block.is_empty() =>
        {
            Ok(())
        }
        Collective::Send { x, .. } | Collective::Recv { x, .. } if x.is_empty() => Ok(()),
        Collective::AllReduce { x } => group.all_reduce(x),
        Collective::ReduceScatter { x, block } => group.reduce_scatter(x, block),
        Collective::AllGather { block, y } => group.all_gather(block, y),
        Collective::Broadcast { x, root } => group.broadcast(x, root),
        Collective::Send { x, to } => group.send(x, to),
        Collective::Recv { x, from } => group.recv(x, from),
        Collective::Barrier => group.barrier(),
    }
}

impl Comm for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    /// Counted as if each rank sent directly to every other one. NCCL's algorithms may send less.
    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.link.set_timeout(timeout);
    }

    fn start(&mut self, device: &mut Device, collective: Collective) -> Result<Handle> {
        collective.check(self.rank, self.world);
        let is_pairwise = matches!(collective, Collective::Send { .. } | Collective::Recv { .. });
        if !is_pairwise {
            self.launch(device)?;
        }
        self.started += 1;
        self.traffic.add(&collective, self.rank, self.world);
        self.collected.push(collective);
        if !is_pairwise || self.is_exchange() {
            self.launch(device)?;
        }
        Ok(Handle { collective, number: self.started })
    }

    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()> {
        let Handle { collective, number } = handle;
        if number + self.collected.len() as u64 > self.started {
            self.launch(device)?;
        }
        let found = self.launched.iter().position(|group| group.numbers.contains(&number));
        let at = found.expect("a handle is waited for once");
        let group = &mut self.launched[at];
        group.waited += 1;
        let mut followed = self.link.follow(gpu(device), &group.ended);
        if group.waited == group.numbers.end - group.numbers.start {
            let over = self.launched.remove(at).expect("it was found");
            self.link.recycle(over.ended);
        }
        // After a barrier the host, too, must wait for the other ranks.
        if let Collective::Barrier = collective {
            followed = followed.and_then(|()| gpu(device).synchronize());
        }
        followed.map_err(|error| lost(error, self.rank, self.world))
    }
}
