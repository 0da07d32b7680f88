//! The processes of a run, from their launch to the first training step.
//!
//! Environment variables show that a launcher has started several processes ([`launch`]). They
//! connect first ([`Group::join`]). Rank 0 then reads the run's files and broadcasts them
//! ([`Group::share`]), and all ranks check that their settings are equal
//! ([`Group::compare_settings`]). Training takes over the communicator ([`Group::into_comm`]).

mod error;
mod group;
mod host;
pub mod launch;
mod settings;

pub use error::Error;
pub use group::Group;
pub use settings::{Disagreement, ProcessInfo};
