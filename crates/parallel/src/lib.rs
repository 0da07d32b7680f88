//! Training on several devices: implementations of [`Executor`](train::executor::Executor) for the
//! training loop of `train`.
//!
//! * [`data`]: data parallelism; every device has the whole network and a part of every batch
//! * [`towers`]: a network in towers, one on each device (section 3.5 of the paper)
//! * [`hybrid`]: data parallelism below the linear layers, whose units are split among devices
//! * [`plan`]: the memory layout of each device's work; how plans are opened
//! * [`Mode`]: data, towers or hybrid; [`Devices`]: a process's devices, from plans to an executor
//! * [`summary`]: how several devices share a step, as text and as JSON
//! * [`threads`]: several devices of one process; [`process`]: one device in each of several
//!   processes; [`single_rank`]: one device that runs micro-shards one after another
//! * [`processes`]: the processes of a run, from their launcher to their communicator
//! * [`tuning`]: the GPU algorithms of a run, timed or read from a file
//! * [`rank`]: the interface of the three modes
//! * [`sharding`]: the micro-shards of a rank; [`control`]: flags that processes exchange
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod clip;
pub mod control;
pub mod data;
mod devices;
mod error;
pub mod hybrid;
mod mode;
pub mod plan;
pub mod process;
pub mod processes;
pub mod rank;
pub mod sharding;
pub mod single_rank;
mod snapshot;
pub mod summary;
pub mod threads;
pub mod towers;
pub mod tuning;

pub use devices::{Devices, share_threads};
pub use error::{Error, Result};
pub use mode::Mode;
pub use plan::{DevicePlan, Engine};
pub use process::ProcessLink;
pub use sharding::Sharding;
pub use summary::Summary;

use layers::{Parameter, Spec};
use tensor::Planner;

/// A network's parameters, with the layout of its snapshots.
///
/// # Errors
/// [`train::Error::Network`] if the network is invalid.
pub fn parameters_of(spec: &Spec) -> train::Result<Vec<Parameter>> {
    let mut planner = Planner::new(); // computes the layout; no memory is allocated
    let target = tensor::Target::Cpu { threads: 1 };
    let network = layers::Network::plan(spec, 1, &mut planner, target)?;
    Ok(network.parameters.entries)
}
