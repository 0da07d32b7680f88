//! Data sets: from files on disk to batches in host memory. Knows no device.
//!
//! * [`open`]: opens the data set that a user names as a [`Dataset`] of training and test images
//! * [`Source`]: labelled images of one size with random access
//! * [`Loader`]: threads that make batches ahead of time, according to a [`LoaderPlan`];
//!   [`Loader::builder`] starts them, [`Loader::epoch`] iterates over an epoch
//! * [`Shapes`]: generated images, for training without a download
//! * [`Folder`]: image files in folders named after their classes; [`Labelling`]: labels from
//!   other files; [`decode`](mod@decode): decodes image files; [`formats`]: the known formats
//! * [`collection`]: the labelled image files of a data set before it is packed
//! * [`ilsvrc`]: ImageNet's archives as downloaded
//! * [`tar`]: finds the files of an archive without unpacking it
//! * [`mat`]: variables of MATLAB files
//! * [`prepare`](mod@prepare): packs a collection into shards; [`shards`]: images packed into a few
//!   large files
//! * [`Cifar`]: CIFAR-10 and CIFAR-100; [`Idx`]: MNIST and data sets in its format;
//!   [`Fake`]: random noise, for speed measurements
//! * [`unlabelled`]: image files without classes, named one by one or by patterns
//! * [`Memory`]: a source read into memory; [`Subset`]: a part of a source;
//!   [`spread_over_classes`]: a few images of different classes
//! * [`verify`]: checks the files of a folder; [`inspect`](mod@inspect): reads image headers
//! * [`fingerprint`](fn@fingerprint): a digest that detects a changed set
//! * [`Statistics`]: the mean image and the principal components of the colours
//! * [`bounded`]: reads user-supplied files within size limits
//! * [`Error`]: errors with a path and a remedy
//!
//! Features: `parquet` (on by default) reads Hugging Face's data sets; `ndarray` adds
//! `Memory::from_ndarray`.
//!
//! ```
//! use alexnet_data::{Loader, LoaderPlan, Shapes};
//! use std::sync::Arc;
//!
//! let shapes = Arc::new(Shapes::train(Shapes::SEED, 32, 100));
//! let plan = LoaderPlan::training(32, (28, 28), 7); // batches, crops, seed
//! let mut loader = Loader::builder(shapes, plan).workers(2).build()?;
//! for (position, batch) in loader.epoch().enumerate() {
//!     let batch = batch?;
//!     assert_eq!((batch.position, batch.pixels.len()), (position, 32 * 28 * 28 * 3));
//! }
//! # Ok::<(), alexnet_data::Error>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod archive;
pub mod bounded;
mod cifar;
pub mod collection;
mod dataset;
mod debug;
pub mod decode;
mod error;
mod fake;
#[cfg(test)]
mod faulty;
mod fingerprint;
mod folder;
pub mod formats;
#[doc(hidden)]
pub mod fuzzing;
mod held_out;
mod huggingface;
mod idx;
pub mod ilsvrc;
pub mod inspect;
mod jpeg;
mod known_files;
mod layout;
mod loader;
pub mod mat;
mod memory;
mod open;
mod parallel;
pub mod prepare;
mod reason;
mod remarks;
#[cfg(test)]
mod scratch_dir;
pub mod shapes;
pub mod shards;
mod source;
mod square;
mod statistics;
pub mod tar;
pub mod unlabelled;
pub mod verify;
mod watch;

pub use cifar::Cifar;
pub use dataset::{Dataset, ProgressWatch};
pub use decode::ExifMode;
pub use error::{Error, Result, SourceError};
pub use fake::Fake;
pub use fingerprint::{fingerprint, fingerprint_watched};
pub use folder::Folder;
pub use idx::Idx;
pub use layout::Labelling;
pub use loader::{
    Batch, Changes, ClassSampling, CropMode, Epoch, HostMemory, IGNORED, LoadedBatch, Loader,
    LoaderBuilder, LoaderMode, LoaderPlan, Pixels, ReadTimeouts, Rotation, StalledRead, bad_limit,
    mean_bytes,
};
pub use memory::Memory;
pub use open::{DatasetOptions, open, open_watched, stored_exif, stored_side};
pub use prepare::{PrepareOptions, prepare};
pub use shapes::Shapes;
pub use shards::Shards;
pub use source::{Crops, ReadBuffer, Source, Subset, spread_over_classes};
pub use statistics::Statistics;
pub use watch::ReadWatch;
