//! Training on several devices. What `train` does on one, this crate does on many, behind the same
//! [`Executor`](train::executor::Executor): the loop does not know.
//!
//! * [`data`]: the whole network on every device, each with a part of every batch
//! * [`towers`]: a network in towers, each on a device (section 3.5 of the paper)
//! * [`hybrid`]: data parallelism below the linear layers, whose units are shared
//! * [`plan`]: what each device has to do, before any memory is taken; and opening them
//! * [`Mode`]: data, towers or hybrid; [`Devices`]: a process's devices, from plans to an executor
//! * [`summary`]: how several devices share a step, as text and as JSON
//! * [`threads`]: devices of one process; [`process`]: one device of several processes; [`lone`]:
//!   one device that makes micro-shards one after the other
//! * [`processes`]: the processes of a run, from their launcher to their communicator
//! * [`tuning`]: the GPU algorithms of a run, timed or read from a file
//! * [`rank`]: the interface that the three ways implement
//! * [`cut`]: which micro-shards a rank has; [`accord`]: what processes must know to decide alike
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod accord;
pub mod cut;
pub mod data;
mod devices;
mod error;
pub mod hybrid;
pub mod lone;
mod mode;
pub mod plan;
pub mod process;
pub mod processes;
pub mod rank;
mod snapshot;
pub mod summary;
pub mod threads;
pub mod towers;
pub mod tuning;

pub use cut::Cut;
pub use devices::{Devices, ProcessLink, share_threads};
pub use error::{Error, Result};
pub use mode::Mode;
pub use plan::{Engine, Plan};
pub use summary::Summary;

use layers::{Parameter, Spec};
use tensor::Planner;

/// A network's parameters, laid out as in a snapshot of it.
///
/// # Errors
/// [`train::Error::Network`] if it is no network.
pub fn parameters_of(spec: &Spec) -> train::Result<Vec<Parameter>> {
    let mut planner = Planner::new(); // no memory is taken: only the layout is wanted
    let target = tensor::Target::Cpu { threads: 1 };
    let network = layers::Network::plan(spec, 1, &mut planner, target)?;
    Ok(network.parameters.entries)
}
