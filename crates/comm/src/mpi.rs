//! Processes that mpirun started, on one host or many.
//!
//! A rank does here what it does in one process: it leaves messages for others at a hub, and takes
//! theirs from it. Between the hubs of two processes two threads carry them: one sends whatever
//! this rank has left, the other brings whatever comes. So messages travel while the rank computes
//! (MPI moves nothing unless somebody is inside it), sums have the order that they have everywhere
//! (that of `MPI_Allreduce` is its own affair), and a rank never waits inside MPI, where it could
//! not lose its timeout.

mod wire;

use crate::hub::Hub;
use crate::{Comm, Error, Handle, Local, Result, Traffic, Work};
use ::mpi::Threading;
use ::mpi::environment::Universe;
use ::mpi::topology::{Communicator, SimpleCommunicator};
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tensor::Device;

/// A rank of MPI's world.
///
/// Dropped, it says farewell; the process may then end when all others have done the same, or when
/// one of them is lost.
pub struct Mpi {
    local: Option<Local>,
    hub: Arc<Hub>,
    /// Held until MPI may be finalized.
    universe: Option<Universe>,
    carriers: Vec<JoinHandle<()>>,
}

/// How long a rank that gives up tries to tell the others.
const FAREWELL: Duration = Duration::from_secs(2);

impl Mpi {
    /// Joins the world that mpirun made, whose ranks wait for each other for `timeout` at most.
    /// Without mpirun it is a world of one.
    ///
    /// # Errors
    /// [`Error::Mpi`] if this process has joined before, or MPI was built without threads.
    pub fn join(timeout: Duration) -> Result<Mpi> {
        let joined = ::mpi::initialize_with_threading(Threading::Multiple);
        let (universe, threading) = joined.ok_or(Error::Mpi("already in use by this process"))?;
        if threading < Threading::Multiple {
            return Err(Error::Mpi("this installation was built without threads"));
        }
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        let hub = Arc::new(Hub::new(ranks));
        let local = Local::at(Arc::clone(&hub), rank, ranks, timeout);
        let carry = |name: &str, work: fn(&Hub, &SimpleCommunicator)| {
            let hub = Arc::clone(&hub);
            let work = move || work(&hub, &SimpleCommunicator::world());
            thread::Builder::new().name(name.into()).spawn(work)
        };
        let carriers = [carry("mpi send", wire::send), carry("mpi receive", wire::receive)];
        let carriers = carriers.into_iter().collect::<std::io::Result<_>>();
        let carriers = carriers.map_err(|_| Error::Mpi("no thread to carry messages"))?;
        Ok(Mpi { local: Some(local), hub, universe: Some(universe), carriers })
    }

    /// Makes buffers for `messages` messages of `floats` floats that are under way at once.
    pub fn reserve(&mut self, messages: usize, floats: usize) {
        self.local().reserve(messages, floats);
    }

    fn local(&mut self) -> &mut Local {
        self.local.as_mut().expect("here until dropped")
    }

    /// Whether the carriers have nothing left to do. Waits for that as long as all goes well; once
    /// a rank is lost, only for `FAREWELL`.
    fn carried(&self) -> bool {
        let began = Instant::now();
        while !self.carriers.iter().all(JoinHandle::is_finished) {
            if self.hub.lost().is_some() && began.elapsed() > FAREWELL {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Comm for Mpi {
    fn rank(&self) -> usize {
        self.local.as_ref().map_or(0, Comm::rank)
    }

    fn world(&self) -> usize {
        self.local.as_ref().map_or(1, Comm::world)
    }

    fn traffic(&self) -> Traffic {
        self.local.as_ref().map_or(Traffic::default(), Comm::traffic)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.local().set_timeout(timeout);
    }

    fn start(&mut self, device: &mut Device, work: Work) -> Result<Handle> {
        self.local().start(device, work)
    }

    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()> {
        self.local().wait(device, handle)
    }
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mpi({} of {})", self.rank(), self.world())
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        self.local = None; // leaves the hub, and so sets the carriers free
        let all_well = self.carried() && self.hub.lost().is_none();
        if !all_well {
            // Finalizing would wait for the lost rank. mpirun ends who has not finalized.
            mem::forget(self.universe.take());
        }
    }
}
