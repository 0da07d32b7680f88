//! Trained parameters and what they need to be used, in one safetensors file.
//!
//! * [`Weights`], [`About`]: a trained network outside any device; [`Values`]: a tensor
//! * [`Input`], [`Mean`]: how an image enters a network
//! * [`tensors`]: the file's form
//! * [`run`]: the names of a run's files, and what a run has learned so far
//! * [`range`]: the numbers that a setting may be
//! * [`Error`]: weights that cannot be read, written or used
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod error;
pub mod input;
pub mod range;
pub mod run;
pub mod tensors;
mod weights;

pub use error::{Error, Result};
pub use input::{Input, Mean};
pub use tensors::Values;
pub use weights::{About, SECOND_MOMENT, VELOCITY, Weights};
