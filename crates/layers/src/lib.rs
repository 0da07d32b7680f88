//! Networks: rows of a specification, planned on a device, run forward and backward.
//!
//! A [`Spec`] is a list of rows, nothing allocated; it can be written in Rust or in TOML. Planning
//! it for a number of images gives a [`Network`]: the same rows, each a [`Layer`] that knows its
//! slots. Running the network is then a walk over the rows, forward or backward, over fixed
//! addresses.
//!
//! * [`Spec`], [`Row`] and the rows' structs ([`Conv`], [`Linear`], [`Lrn`], [`Pool`], ...): the
//!   network's description
//! * [`fuse`]: rewrites rows into fewer, faster ones
//! * [`custom`]: layers that a program adds; [`check_gradients`]: their backward passes
//! * [`Network`]: the rows planned on a device, forward only; [`TrainableNetwork`]: forward and
//!   backward; [`Phase`]: training, testing or inference; [`Clock`]: what changes from step to step
//! * [`Parameters`]: weights and biases in one block
//! * [`towers`]: splits a network into towers, one per device
//! * [`hybrid`]: data parallel below the first linear layer, model parallel from there on
//! * [`init`]: initial values
//!
//! ```
//! use alexnet_layers::{Network, Phase, Spec, window};
//! use tensor::{Device, Planner};
//!
//! let spec = Spec::image("tiny", 12, 12, 3)
//!     .conv("conv1", 8, window(3).pad(1)).relu().lrn().pool(window(3).stride(2))
//!     .linear("fc2", 10);
//! assert_eq!(spec.parameters()?, 3 * 3 * 3 * 8 + 8 + 5 * 5 * 8 * 10 + 10);
//!
//! let mut planner = Planner::new();
//! let mut device = Device::cpu(2);
//! let network = Network::plan(&spec, 4, &mut planner, device.target())?;
//! device.reserve(planner.total())?;
//! network.set_input(&mut device, [4, 12, 12, 3], &[1.0; 4 * 12 * 12 * 3])?;
//! network.forward(&mut device, Phase::Test)?;
//! assert_eq!(device.download::<f32>(network.output)?, [0.0; 4 * 10]); // no weights yet
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod check_gradients;
mod clock;
pub mod custom;
pub mod fuse;
pub mod hybrid;
pub mod init;
mod layer;
mod nearest;
mod network;
mod parameters;
mod planned_row;
mod planning;
mod rows;
mod slots;
mod spec;
pub mod towers;

pub use check_gradients::{GradientError, check_gradients};
pub use clock::Clock;
pub use custom::{Custom, CustomLayer};
pub use layer::{Layer, Transfer};
pub use nearest::nearest;
pub use network::{Network, TrainableNetwork};
pub use parameters::{Parameter, Parameters, Role, layer_of};
pub use planned_row::PlannedRow;
pub use rows::{BatchNorm, LayerNorm, Lrn, LrnPool};
pub use rows::{
    Conv, Dropout, Exchange, LeakyRelu, Linear, Local, NoOptions, Pad, Pool, Row, Tanh, Tower,
};
pub use rows::{Window, window};
pub use slots::{Gradients, LayerSlots, Phase};
pub use spec::{RowInfo, Spec, SpecError};
