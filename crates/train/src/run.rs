//! A run: what decides its bits, and how it begins, goes on and ends.
//!
//! A [`Job`] is what is to be done; a [`Session`] does it, from the first step or from a
//! checkpoint, and leaves an [`Outcome`]. In the order in which a run passes through them:
//!
//! * `job`, `identity`: what decides bits, and whether a checkpoint is this job's
//! * `planning`: its network, laid out for a device
//! * `session`: from opening the devices to writing down how it ended
//! * `training`: a run in progress, and how far it has come
//! * `epochs`: the loop
//! * `logging`: what is recorded and reported when
//! * `saving`: when checkpoints and weights are written
//! * `best`, `restore`: early stopping
//! * `outcome`: how it ended
//!
//! * `range_test`: the learning-rate range test, which leaves no run

mod batch_memory;
mod best;
mod epochs;
mod identity;
mod job;
mod logging;
mod outcome;
mod planning;
mod range_test;
mod restore;
mod saving;
mod session;
mod training;

pub use job::Job;
pub use outcome::{End, Outcome};
pub use planning::Blueprint;
pub use range_test::{RangeCurve, RangeEnd, RangePoint, RangeTest};
pub use session::Session;
