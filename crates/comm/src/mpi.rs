//! Communication between processes that mpirun started, on one host or many.
//!
//! As with ranks in a single process, a rank posts messages to a hub and takes those of other ranks
//! from it. Each process has a hub and two transport threads: one sends the rank's messages, the
//! other receives. There are three reasons for this:
//!
//! * Messages are transferred while the rank computes: MPI progresses only inside its functions.
//! * Sums are in rank order. The order of `MPI_Allreduce` is unspecified.
//! * A rank never blocks inside MPI, which has no timeouts.

mod wire;

use crate::hub::Hub;
use crate::{Collective, Comm, Error, Handle, Local, Result, Traffic};
use ::mpi::Threading;
use ::mpi::environment::Universe;
use ::mpi::topology::{Communicator, SimpleCommunicator};
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tensor::Device;

/// A rank of `MPI_COMM_WORLD`.
///
/// Dropping it notifies the other processes and waits until all of them have left, or one is lost.
pub struct Mpi {
    local: Option<Local>,
    hub: Arc<Hub>,
    /// Finalizes MPI when dropped.
    universe: Option<Universe>,
    transport: Vec<JoinHandle<()>>,
}

/// How long a rank tries to notify the others after a rank was lost.
const FAREWELL: Duration = Duration::from_secs(2);

impl Mpi {
    /// Initializes MPI. Ranks wait at most `timeout` for each other. Without mpirun, this process
    /// is the only rank.
    ///
    /// # Errors
    /// [`Error::Mpi`] if this process has joined before, MPI was built without support for threads,
    /// or a thread cannot be started.
    pub fn join(timeout: Duration) -> Result<Mpi> {
        let joined = ::mpi::initialize_with_threading(Threading::Multiple);
        let (universe, threading) = joined.ok_or(Error::Mpi("already in use by this process"))?;
        if threading < Threading::Multiple {
            return Err(Error::Mpi("this installation was built without support for threads"));
        }
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        let hub = Arc::new(Hub::new(ranks));
        let local = Local::at(Arc::clone(&hub), rank, ranks, timeout);
        let spawn = |name: &str, work: fn(&Hub, &SimpleCommunicator)| {
            let hub = Arc::clone(&hub);
            let work = move || work(&hub, &SimpleCommunicator::world());
            thread::Builder::new().name(name.into()).spawn(work)
        };
        let transport = [spawn("mpi send", wire::send), spawn("mpi receive", wire::receive)];
        let transport = transport.into_iter().collect::<std::io::Result<_>>();
        let transport = transport.map_err(|_| Error::Mpi("a thread cannot be started"))?;
        Ok(Mpi { local: Some(local), hub, universe: Some(universe), transport })
    }

    /// Allocates buffers for `messages` messages of `floats` floats in flight at once.
    pub fn reserve(&mut self, messages: usize, floats: usize) {
        self.local().reserve(messages, floats);
    }

    fn local(&mut self) -> &mut Local {
        self.local.as_mut().expect("present until dropped")
    }

    /// Waits until the transport threads have ended; if a rank is lost, at most for `FAREWELL`.
    /// Returns whether they have ended.
    fn transport_has_ended(&self) -> bool {
        let began = Instant::now();
        while !self.transport.iter().all(JoinHandle::is_finished) {
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

    fn start(&mut self, device: &mut Device, collective: Collective) -> Result<Handle> {
        self.local().start(device, collective)
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
        self.local = None; // disconnects and releases the transport threads
        let all_well = self.transport_has_ended() && self.hub.lost().is_none();
        if !all_well {
            // Finalizing MPI would wait for the lost rank, so it is skipped. mpirun kills processes
            // that do not finalize.
            mem::forget(self.universe.take());
        }
    }
}
