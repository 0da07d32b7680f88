//! The training loop. It knows networks and batches, not AlexNet.
#![forbid(unsafe_code)]

mod atomic;
mod clock;
mod error;
pub mod evaluate;
mod finite;
pub mod folder;
pub mod metrics;
pub mod observe;
pub mod recipe;
pub mod recipes;
pub mod run;
pub mod schedule;
pub mod step;
mod stop;
pub mod weights;

pub use error::{Error, Result};
pub use stop::Stop;
