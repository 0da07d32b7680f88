//! Testing networks: preprocessing and loss, scores, the loop over images, ensembles.
//!
//! * [`Frame`]: preprocessing before a network, the loss after it; [`LossSettings`]: label
//!   smoothing and class weights
//! * [`Evaluate`]: a network that can be tested; [`evaluate()`], [`evaluate_each`]: the loop
//! * [`Tally`], [`Score`]: losses and errors, as sums and as means
//! * [`predictions`]: probabilities of every image, errors by class, precision, recall, ROC areas
//!   and calibration, averages of several networks
//! * [`observe`]: progress reports; [`Stop`]: requests to end early
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod evaluate;
mod frame;
mod metrics;
pub mod observe;
pub mod predictions;
mod stop;
mod targets;

pub use evaluate::{BatchShape, Evaluate, Tested, evaluate, evaluate_each, next_batch};
pub use frame::{Frame, FrameInput};
pub use metrics::{Score, Tally, has_top5};
pub use observe::{Observer, Silent};
pub use predictions::Predictions;
pub use stop::Stop;
pub use targets::{LossSettings, WeightSum};
