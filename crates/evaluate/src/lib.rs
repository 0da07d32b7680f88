//! Testing networks: what stands around them, scores, the loop over images, ensembles.
//!
//! * [`Frame`]: images and labels in front of a network, the loss behind it
//! * [`Evaluate`]: a network that can be tested; [`evaluate()`], [`evaluate_each`]: the loop
//! * [`Tally`], [`Score`]: losses and errors, as sums and as means
//! * [`predictions`]: what networks say of every image, errors by class, averages of several
//! * [`observe`]: reports while it goes on; [`Stop`]: requests to end it early
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod evaluate;
mod frame;
mod metrics;
pub mod observe;
pub mod predictions;
mod stop;

pub use evaluate::{BatchShape, Evaluate, Tested, evaluate, evaluate_each, next_batch};
pub use frame::Frame;
pub use metrics::{Score, Tally};
pub use observe::{Observer, Silent};
pub use predictions::Predictions;
pub use stop::Stop;
