//! The training loop, for any network on one device.
//!
//! A run is a network, a [`Recipe`](recipe::Recipe), images and a seed: together a
//! [`Job`](run::Job). Planning a job computes its memory; a [`Session`](run::Session) trains,
//! validates after every epoch, and writes results into a [`RunFolder`](folder::RunFolder).
//!
//! * [`recipe`], [`recipes`]: hyper-parameters; the built-in recipes, one page each
//! * [`schedule`]: learning-rate schedules
//! * [`early_stopping`]: ending a run when validations stop improving
//! * [`executor`]: the interface between the loop and the devices that run its steps
//! * [`step`]: one device: load, begin, forward, loss, backward, update
//! * [`plan`], [`optimizer`]: the memory layout of a step; SGD and Adam
//! * [`device_network`]: a planned network on its device
//! * [`start`]: the initial state
//! * [`run`]: jobs, the loop over epochs, logging and saving
//! * [`folder`]: the files of a run
//! * [`checkpoint`], [`progress`]: resuming a run
//! * [`init`]: parameters inherited from another run
//! * [`stats`], [`stuck`]: norms, dead units; a loss that stays at chance
//! * [`events`]: files of TensorBoard
//! * [`Error`]: errors of a run
//!
//! ```
//! use data::{Shapes, Statistics};
//! use layers::Spec;
//! use std::sync::Arc;
//! use tensor::Device;
//! use alexnet_train::recipe::Recipe;
//! use alexnet_train::run::{Job, Session};
//! use alexnet_train::{folder::RunFolder, recipes};
//! use evaluate::{Silent, Stop};
//!
//! let images = Arc::new(Shapes::train(Shapes::SEED, 18, 64));
//! let spec = Spec::image("linear", 16, 16, 3).linear("fc1", 10);
//! let recipe = Recipe { batch: 16, rate: 1e-6, epochs: 2, ..recipes::paper() };
//! let statistics = Statistics::of(&*images)?;
//! let mut job = Job::new(spec, recipe, images.clone(), images, statistics);
//! job.workers = 1;
//! let plan = job.plan(tensor::Target::Cpu { threads: 1 })?;
//! assert!(plan.memory().total < 1 << 20); // known before the first step
//! let runs = std::env::temp_dir().join("alexnet-example");
//! let mut folder = RunFolder::create_under(&runs, "linear")?;
//! let (mut observer, stop) = (Silent, Stop::new());
//! let session = Session::new(&job, &mut folder, &mut observer, &stop);
//! let outcome = session.start(|start| plan.open_boxed(Device::cpu(1), start))?;
//! assert_eq!(outcome.steps, 2 * 4);
//! assert!(folder.path().join("weights.safetensors").exists());
//! # std::fs::remove_dir_all(runs)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod checkpoint;
mod clock;
mod defaults;
pub mod device_network;
pub mod early_stopping;
mod error;
pub mod executor;
mod finite;
pub mod folder;
pub mod init;
mod log;
pub mod optimizer;
mod pattern;
pub mod plan;
pub mod progress;
mod recent;
pub mod recipe;
pub mod recipes;
pub mod run;
pub mod schedule;
pub mod start;
pub mod stats;
pub mod step;
pub mod stuck;

pub use error::{Error, Result};
pub use log::events;
