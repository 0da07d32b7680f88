//! Asynchronous collectives among devices.
//!
//! Every device is a rank of a world. All ranks start the same collectives in the same order. A
//! collective runs in the background from its start until its [`Handle`] is waited for. Sums are
//! taken in rank order, so that results are bit-identical on all ranks and in every run.
//!
//! * [`Comm`]: the trait; [`Collective`]: an operation; [`Handle`]: one that has been started
//! * [`Local`]: the devices of one process, each on its own thread, through host memory
//! * [`Nccl`]: GPUs, of one process or of many, directly from GPU to GPU
//! * `Mpi` (feature `mpi`): processes that mpirun started, on one host or many
//! * [`Traffic`]: the messages and bytes that a rank has sent
//! * [`rendezvous`]: connects processes without MPI
//! * [`bytes`]: broadcast of text and files
//! * [`Error`]: names the rank that is lost or has started another collective
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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod bytes;
mod collective;
mod error;
mod hub;
mod local;
#[cfg(feature = "mpi")]
mod mpi;
mod nccl;
pub mod rendezvous;

pub use collective::{Collective, Handle};
pub use error::{Error, Fate, Result};
pub use local::Local;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use nccl::Nccl;
pub use tensor::Traffic;

use std::fmt::Debug;
use std::time::Duration;
use tensor::{Device, Slot};

/// A rank's communicator.
///
/// Slots hold floats. Between the start of a collective and the end of the wait, its inputs must
/// not be written, and its outputs must be neither read nor written. Every handle must be waited
/// for, in any order.
///
/// Every method may panic if a slot has the wrong type or length, or a rank is not of this world.
/// Every method fails with [`Error::Lost`] if a rank that it needs is lost, and with
/// [`Error::Disagree`] if the ranks started different collectives.
pub trait Comm: Debug + Send {
    /// This rank's number, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn world(&self) -> usize;

    /// The messages and bytes that this rank has sent.
    fn traffic(&self) -> Traffic;

    /// Sets the time after which a rank that does not answer counts as lost. Implementations
    /// without a timeout ignore it.
    fn set_timeout(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Starts a collective.
    ///
    /// # Errors
    /// As the trait says.
    fn start(&mut self, device: &mut Device, collective: Collective) -> Result<Handle>;

    /// Waits until a collective is complete.
    ///
    /// # Errors
    /// As the trait says.
    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()>;

    /// Replaces `x` by the sum of all ranks' `x`, added in rank order.
    ///
    /// # Errors
    /// As the trait says.
    fn all_reduce(&mut self, device: &mut Device, x: Slot) -> Result<Handle> {
        self.start(device, Collective::AllReduce { x })
    }

    /// Sets `block` to the sum, in rank order, of all ranks' blocks with this rank's number. `x`
    /// has one block for each rank.
    ///
    /// # Errors
    /// As the trait says.
    fn reduce_scatter(&mut self, device: &mut Device, x: Slot, block: Slot) -> Result<Handle> {
        self.start(device, Collective::ReduceScatter { x, block })
    }

    /// Sets `y` to all ranks' blocks, in rank order.
    ///
    /// # Errors
    /// As the trait says.
    fn all_gather(&mut self, device: &mut Device, block: Slot, y: Slot) -> Result<Handle> {
        self.start(device, Collective::AllGather { block, y })
    }

    /// Sets every rank's `x` to that of rank `root`.
    ///
    /// # Errors
    /// As the trait says.
    fn broadcast(&mut self, device: &mut Device, x: Slot, root: usize) -> Result<Handle> {
        self.start(device, Collective::Broadcast { x, root })
    }

    /// Sends `x` to rank `to`. Messages between two ranks are received in the order in which they
    /// are sent.
    ///
    /// # Errors
    /// As the trait says.
    fn send(&mut self, device: &mut Device, x: Slot, to: usize) -> Result<Handle> {
        self.start(device, Collective::Send { x, to })
    }

    /// Receives `x` from rank `from`.
    ///
    /// # Errors
    /// As the trait says.
    fn recv(&mut self, device: &mut Device, x: Slot, from: usize) -> Result<Handle> {
        self.start(device, Collective::Recv { x, from })
    }

    /// Completes when every rank has started it.
    ///
    /// # Errors
    /// As the trait says.
    fn barrier(&mut self, device: &mut Device) -> Result<Handle> {
        self.start(device, Collective::Barrier)
    }
}
