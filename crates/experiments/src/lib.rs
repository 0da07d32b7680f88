//! The paper's experiments and those of its sources: what they are, a page each, and what runs
//! them.
//!
//! * [`Protocol`]: an experiment; [`Arm`]: one of the things it compares; [`Stage`]: a run of an
//!   arm
//! * [`all`], [`find`]: the pages
//! * [`Form`]: the whole of a page, or its networks small enough to rehearse it, or to run one on
//!   ImageNet in miniature
//! * [`Experiment`]: a protocol with its images and folders; [`Task`]: a run that is to be made
//! * [`Runner`]: trains and tests its networks; in the program `alexnet` through the code of its
//!   other commands
//! * [`reproduce`]: its runs one after another, each going on if it was ended; a page, a plot and a
//!   file for programs with what they came to
//! * [`Measured`]: what one of them came to, as its folder keeps it
//! * [`Error`]: what can go wrong
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
//!     Began, Ended, Experiment, Fingerprints, Form, Images, Runner, Task, View, example, find,
//!     reproduce,
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
//!     fn began(&self, _: &Path) -> Result<Began> {
//!         Err("no run goes on here".into())
//!     }
//!
//!     fn fingerprints(&self, _: &Task, _: &mut dyn Observer) -> Result<Option<Fingerprints>> {
//!         Ok(Some(example::FINGERPRINTS.map(String::from)))
//!     }
//!
//!     fn train(&self, run: &Path, task: &Task, _: &mut dyn Observer) -> Result<Ended> {
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
//! let page = find("overlap").and_then(|page| page.in_form(Form::Rehearsal)).unwrap();
//! let experiment = Experiment {
//!     seeds: page.seeds,
//!     page,
//!     form: Form::Rehearsal,
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
//! assert!(text.contains("overlapping 25.00 ± 0.00 %"));
//! # std::fs::remove_dir_all(runs)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod begun;
mod error;
#[doc(hidden)]
pub mod example;
mod experiment;
mod lab;
mod measured;
mod order;
mod page;
mod protocol;
mod protocols;
mod reproduce;
mod run_file;
mod runner;
mod spread;

pub use error::{Error, Result};
pub use experiment::Experiment;
pub use measured::{Epoch, Measured, Tested};
pub use protocol::{Arm, Data, Form, Measure, Protocol, Stage, Takes, View};
pub use protocols::{all, find};
pub use reproduce::reproduce;
pub use runner::{Began, Ended, Fingerprints, Images, Init, Runner, Task};
