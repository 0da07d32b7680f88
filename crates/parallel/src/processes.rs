//! The processes of a run: which there are, and through which engine they talk.
//!
//! A launcher says in the environment that it has started several ([`launch`]). They find each
//! other before anything is read ([`Group::join`]); the first reads what belongs to the run and
//! shares it; all compare what they are about to do ([`Group::meet`]); then the engine is the
//! step's ([`Group::into_comm`]).

mod error;
mod group;
mod host;
pub mod launch;
mod meeting;

pub use error::Error;
pub use group::Group;
pub use meeting::{Disagreement, Member};
