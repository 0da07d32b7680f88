//! Trained parameters with the metadata needed to use them, in one safetensors file.
//!
//! * [`Weights`], [`About`]: a trained network in host memory; [`Values`]: a tensor
//! * [`Input`], [`Mean`]: how pixels become a network's input
//! * [`tensors`]: the file format
//! * [`import`]: weights files of other programs
//! * [`export`]: the same, written
//! * [`run`]: the names of a run's files, and its latest weights
//! * [`range`]: valid ranges of settings
//! * [`Error`]: weights that cannot be read, written or used
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod error;
pub mod export;
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
pub mod input;
pub mod range;
pub mod run;
pub mod tensors;
mod weights;

pub use error::{Error, Result};
pub use input::{Input, Mean, Scale};
pub use tensors::Values;
pub use weights::{AVERAGE, About, SECOND_MOMENT, VELOCITY, Weights, take_state};
