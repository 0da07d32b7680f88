//! The experiments of the paper and of its sources, one file each, and the code that runs them.
//!
//! * [`Protocol`]: an experiment; [`Arm`]: a variant that it compares; [`Stage`]: a run of an arm
//! * [`all`], [`find`]: the protocols
//! * [`Scale`]: the full experiment, a rehearsal with thin networks, or ImageNet in miniature
//! * [`Experiment`]: a protocol with its images and folders; [`RunRequest`]: one of its runs
//! * [`Runner`]: trains and tests the networks; the program `alexnet` implements it with the code
//!   of its other commands
//! * [`reproduce`]: executes or resumes the runs, and writes the results as a page, a plot and JSON
//! * [`Measured`]: the measurements of a run, stored in its folder; [`Inspection`]: what is
//!   measured of a network besides its errors
//! * [`sweep`]: many runs with different settings, in search of the best
//!
//! ```
//! let page = alexnet_experiments::find("cifar-80sec").unwrap();
//! assert_eq!((page.seeds, page.arms.len(), page.asked), (3, 1, Some(0.265)));
//! ```
//!
//! A rehearsal with a runner that trains nothing and reports an error of 25 %:
//!
//! ```
//! use alexnet_experiments::{
//!     Ended, Experiment, Fingerprints, Images, RunRequest, RunStart, Runner, Scale, View, example,
//!     find, reproduce,
//! };
//! use evaluate::{Observer, Predictions, Score, Silent};
//! use std::path::Path;
//!
//! struct Pretender;
//!
//! type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//!
//! impl Runner for Pretender {
//!     type Error = Box<dyn std::error::Error>;
//!     type Opened = ();
//!
//!     fn began(&self, _: &Path) -> Result<RunStart> {
//!         Err("no run goes on here".into())
//!     }
//!
//!     fn fingerprints(&self, _: &RunRequest, _: &mut dyn Observer) -> Result<Option<Fingerprints>>
//!     {
//!         Ok(Some(example::FINGERPRINTS.map(String::from)))
//!     }
//!
//!     fn train(&self, run: &Path, task: &RunRequest, _: &mut dyn Observer) -> Result<Ended> {
//!         example::leave_run(run, task)?; // the files that a run leaves
//!         Ok(Ended::Finished)
//!     }
//!
//!     fn open(&self, _: &Path, _: &Images) -> Result<()> {
//!         Ok(())
//!     }
//!
//!     fn test(
//!         &self,
//!         _: &(),
//!         _: View,
//!         _: &mut dyn Observer,
//!     ) -> Result<Option<(Score, Predictions)>> {
//!         let score = Score { top1_error: 0.25, ..Score::default() };
//!         Ok(Some((score, Predictions::default())))
//!     }
//!
//!     fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
//!         Ok(std::fs::write(path, contents)?)
//!     }
//! }
//!
//! let runs = std::env::temp_dir().join(format!("alexnet-rehearsed-{}", std::process::id()));
//! let page = find("overlap").and_then(|page| page.at_scale(Scale::Rehearsal)).unwrap();
//! let experiment = Experiment {
//!     seeds: page.seeds,
//!     page,
//!     scale: Scale::Rehearsal,
//!     data: None,
//!     larger: None,
//!     precision: None,
//!     runs: runs.clone(),
//!     out: runs.clone(),
//!     note: None,
//! };
//! let measured = reproduce(&experiment, &Pretender, &mut Silent)?.expect("no stop was requested");
//! assert_eq!(measured.len(), 2 * 2); // two arms, two seeds
//! let text = std::fs::read_to_string(runs.join("overlap.md"))?;
//! assert!(text.contains("25.00 ± 0.00 % (3 x 3, overlapping)"));
//! # std::fs::remove_dir_all(runs)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod error;
#[doc(hidden)]
pub mod example;
mod existing_run;
mod experiment;
mod experiment_runner;
mod findings;
mod measured;
mod order;
mod page;
mod protocol;
mod protocols;
mod reproduce;
mod run_file;
mod runner;
mod spread;
pub mod sweep;

pub use error::{Error, Result};
pub use experiment::Experiment;
pub use measured::{Epoch, Finding, Measured, TestResult};
pub use protocol::{Arm, Data, Inherits, Inspection, Measure, Protocol, Scale, Stage, View};
pub use protocols::{all, find};
pub use reproduce::reproduce;
pub use runner::{Ended, Fingerprints, Images, InheritedState, RunRequest, RunStart, Runner};
