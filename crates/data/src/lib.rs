//! From disk to a full batch in host memory; knows no device.
//!
//! * [`open`]: from what a user names to a [`Dataset`]: training and test images, all, few or some
//!   held out, and what is measured of them
//! * [`Source`]: labelled images of one size, any of which can be read at any time
//! * [`Shapes`]: images that are generated, for training without a download
//! * [`Folder`]: image files in folders named for their classes; [`Labelling`]: labels from
//!   elsewhere; [`decode`](mod@decode): from a file to pixels; [`formats`]: which files are images
//! * [`collection`]: labelled image files before they are a data set
//! * [`ilsvrc`]: ImageNet's archives as they were downloaded
//! * [`tar`]: where the files of an archive lie; nothing is unpacked
//! * [`mat`]: variables of MATLAB files
//! * [`prepare`](mod@prepare): from a collection to shards; [`shards`]: images packed into a few
//!   large files
//! * [`Cifar`]: the binary files of CIFAR-10 and CIFAR-100; [`Idx`]: those of MNIST and its kin;
//!   [`Fake`]: noise, for measuring speed
//! * [`unlabelled`]: image files without classes, named one by one or by patterns
//! * [`Memory`]: any source, read once and kept; [`Subset`]: a part of any source;
//!   [`spread_over_classes`]: a few images of it
//! * [`verify`]: what is wrong with the files of a folder; [`inspect`](mod@inspect): what a header
//!   says
//! * [`Loader`]: threads that make batches ahead of time, by a [`Plan`]
//! * [`fingerprint`](fn@fingerprint): whether a set is the one it was
//! * [`Statistics`]: the mean image and the colours' principal components
//! * [`bounded`]: reading files that a user names, within limits
//! * [`Error`]: what can go wrong, with a path and what to do
//!
//! ```
//! use alexnet_data::{Loader, Plan, Shapes};
//! use std::sync::Arc;
//!
//! let shapes = Arc::new(Shapes::train(Shapes::SEED, 32, 100));
//! let mut loader = Loader::new(shapes, Plan::training(32, (28, 28), 7), 2, 0);
//! for position in 0..loader.batches_per_epoch() {
//!     let batch = loader.next_batch()?.expect("training never ends");
//!     assert_eq!((batch.position, batch.pixels.len()), (position, 32 * 28 * 28 * 3));
//! }
//! # Ok::<(), alexnet_data::Error>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod archive;
pub mod bounded;
mod cifar;
pub mod collection;
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
mod huggingface;
mod idx;
pub mod ilsvrc;
pub mod inspect;
mod items;
mod jpeg;
mod layout;
mod loader;
mod located;
pub mod mat;
mod memory;
mod open;
mod parallel;
pub mod prepare;
mod reason;
#[cfg(test)]
mod scratch_dir;
mod seen;
mod set;
pub mod shapes;
pub mod shards;
mod source;
mod statistics;
pub mod tar;
pub mod unlabelled;
pub mod verify;
mod watch;

pub use cifar::Cifar;
pub use decode::ExifMode;
pub use error::{Error, Result};
pub use fake::Fake;
pub use fingerprint::{fingerprint, fingerprint_watched};
pub use folder::Folder;
pub use idx::Idx;
pub use layout::Labelling;
pub use loader::{Batch, IGNORED, Loaded, Loader, Pass, Patience, Plan, Stalled, Views, bad_limit};
pub use memory::Memory;
pub use open::{Options, open, open_watched, stored_exif, stored_side};
pub use prepare::{PrepareOptions, prepare};
pub use set::{Dataset, WatchOfMany};
pub use shapes::Shapes;
pub use shards::Shards;
pub use source::{ReadBuffer, Source, Subset, spread_over_classes};
pub use statistics::Statistics;
pub use watch::Watch;
