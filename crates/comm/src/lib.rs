//! Collectives among devices: what training on more than one of them stands on.
//!
//! Every device is a rank of a world. All ranks start the same collectives in the same order; a
//! collective is started, runs beside whatever its rank does meanwhile, and is over when its
//! [`Handle`] has been waited for. Sums are taken in the order of the ranks, so that every rank
//! ends with the same bits, run after run.
//!
//! * [`Comm`]: the trait; [`Work`]: what can be started; [`Handle`]: what has been
//! * [`Local`]: the devices of one process, each on its own thread, by way of host memory
//! * [`Nccl`]: GPUs, of one process or of many, without the host's memory between them
//! * `Mpi` (feature `mpi`): processes that mpirun started, on one host or many
//! * [`Traffic`]: how much a rank has sent
//! * [`rendezvous`]: how processes find each other where no MPI tells them
//! * [`bytes`]: text and files, by way of floats
//! * [`Error`]: a rank that is gone, is silent or does something else, by its number
//!
//! ```
//! use alexnet_comm::{Comm, Local};
//! use tensor::{DType, Device, Planner, Shape};
//!
//! let ranks = Local::world(2, Local::TIMEOUT);
//! std::thread::scope(|scope| {
//!     for mut comm in ranks {
//!         scope.spawn(move || {
//!             let x = Planner::new().claim(DType::F32, Shape::from([3]));
//!             let mut device = Device::cpu(1);
//!             device.reserve(x.range().end)?;
//!             device.upload(x, &[1.0, 2.0, comm.rank() as f32])?;
//!             let sum = comm.all_reduce(&mut device, x)?; // other work could go on here
//!             comm.wait(&mut device, sum)?;
//!             assert_eq!(device.download::<f32>(x)?, [2.0, 4.0, 1.0]);
//!             Ok::<(), alexnet_comm::Error>(())
//!         });
//!     }
//! });
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod bytes;
mod error;
mod hub;
mod local;
#[cfg(feature = "mpi")]
mod mpi;
mod nccl;
pub mod rendezvous;
mod work;

pub use error::{Error, Fate, Result};
pub use local::Local;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use nccl::Nccl;
pub use tensor::Traffic;
pub use work::{Handle, Work};

use std::fmt::Debug;
use std::time::Duration;
use tensor::{Device, Slot};

/// A rank's side of a world.
///
/// Slots hold floats. From the start to the end of the wait, what a collective reads may not be
/// written, and what it writes may be neither read nor written. Handles may be waited for in any
/// order; each has to be.
///
/// Every method may panic if a slot has the wrong type or length, or a rank is not of this world.
/// Every method fails with [`Error::Lost`] once a rank that is needed is gone, and with
/// [`Error::Disagree`] if the ranks started different collectives.
pub trait Comm: Debug + Send {
    /// Which of the ranks this is, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world(&self) -> usize;

    /// What this rank has sent so far.
    fn traffic(&self) -> Traffic;

    /// From now on this rank waits so long for any other, at most, before it counts as lost. An
    /// engine whose timeout is not its own to change keeps what it has.
    fn set_timeout(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Begins a collective.
    ///
    /// # Errors
    /// As the trait says.
    fn start(&mut self, device: &mut Device, work: Work) -> Result<Handle>;

    /// Ends it: what it writes is there.
    ///
    /// # Errors
    /// As the trait says.
    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()>;

    /// `x` becomes the sum of all ranks' `x`, added in the order of the ranks.
    ///
    /// # Errors
    /// As the trait says.
    fn all_reduce(&mut self, device: &mut Device, x: Slot) -> Result<Handle> {
        self.start(device, Work::AllReduce { x })
    }

    /// `block` becomes the sum, in the order of the ranks, of all ranks' blocks with this rank's
    /// number. `x` is one block a rank.
    ///
    /// # Errors
    /// As the trait says.
    fn reduce_scatter(&mut self, device: &mut Device, x: Slot, block: Slot) -> Result<Handle> {
        self.start(device, Work::ReduceScatter { x, block })
    }

    /// `y` becomes all ranks' `block`s, one after another.
    ///
    /// # Errors
    /// As the trait says.
    fn all_gather(&mut self, device: &mut Device, block: Slot, y: Slot) -> Result<Handle> {
        self.start(device, Work::AllGather { block, y })
    }

    /// Every rank's `x` becomes that of rank `root`.
    ///
    /// # Errors
    /// As the trait says.
    fn broadcast(&mut self, device: &mut Device, x: Slot, root: usize) -> Result<Handle> {
        self.start(device, Work::Broadcast { x, root })
    }

    /// Sends `x` to rank `to`, which receives. Between two ranks, what is sent first is received
    /// first.
    ///
    /// # Errors
    /// As the trait says.
    fn send(&mut self, device: &mut Device, x: Slot, to: usize) -> Result<Handle> {
        self.start(device, Work::Send { x, to })
    }

    /// `x` becomes what rank `from` sends.
    ///
    /// # Errors
    /// As the trait says.
    fn recv(&mut self, device: &mut Device, x: Slot, from: usize) -> Result<Handle> {
        self.start(device, Work::Recv { x, from })
    }

    /// Is over when every rank has started it.
    ///
    /// # Errors
    /// As the trait says.
    fn barrier(&mut self, device: &mut Device) -> Result<Handle> {
        self.start(device, Work::Barrier)
    }
}
