//! The training loop: it knows networks and batches on one device, and not AlexNet.
//!
//! A run is a network, a [`Recipe`](recipe::Recipe), images and a seed: together a
//! [`Job`](run::Job). Planning a job says what memory it takes; a [`Session`](run::Session) makes
//! steps, tests the network after every epoch, and leaves everything in a
//! [`RunFolder`](folder::RunFolder).
//!
//! * [`recipe`], [`recipes`]: how a network is trained; the built-in ways, one page each
//! * [`schedule`]: how the learning rate changes from epoch to epoch
//! * [`executor`]: the interface between the loop and whatever carries out its steps
//! * [`step`]: one device: load, begin, forward, loss, backward, update
//! * [`plan`], [`optimizer`]: what a step takes, laid out before; how a network learns
//! * [`device_network`]: all of it on a device
//! * [`start`]: what training starts from
//! * [`run`]: epochs of steps and what is told of them
//! * [`folder`]: what a run leaves behind
//! * [`checkpoint`], [`progress`]: how it goes on after whatever ended it
//! * [`init`]: parameters taken over from another run
//! * [`stats`], [`stuck`]: norms, dead units; a loss that stays at chance
//! * [`Error`]: what can go wrong
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
//! let job = Job {
//!     spec: Spec::image("linear", 16, 16, 3).linear("fc1", 10),
//!     recipe: Recipe { batch: 16, rate: 1e-6, epochs: 2, ..recipes::paper() },
//!     seed: 0,
//!     statistics: Statistics::of(&*images, 1, None, &|_| ())?,
//!     train: images.clone(),
//!     validation: images,
//!     workers: 1,
//!     init: None,
//!     max_steps: None,
//!     class_names: Vec::new(),
//!     validate_every: 1,
//!     checkpoints: alexnet_train::checkpoint::Policy::default(),
//! };
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
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod checkpoint;
mod clock;
pub mod device_network;
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
