//! A trained network in one call: open, predict, features, neighbours.
//!
//! * [`Classifier`]: opens a run's folder or a weights file; can be used from any thread
//! * [`Model`]: trained weights and their file; [`Views`]: one or several crops of an image
//! * [`Predictor`]: a network on a device, for batches; [`InferencePlan`]: its memory plan
//! * [`features`], [`neighbours`]: outputs of layers for a whole data set; similar images
//! * [`explain`]: Grad-CAM, guided backpropagation, occlusion
//! * [`probe`]: a linear classifier of a layer's features
//! * [`lpips`]: the perceptual distance of two images
//! * [`device`]: opens the requested device, or the best one available
//!
//! ```
//! # use alexnet_inference::example;
//! use alexnet_inference::{Classifier, Image};
//!
//! # let folder = example::folder();
//! let classifier = Classifier::open(folder.join("weights.safetensors"))?; // or a run's folder
//! let photo = Image::filled(30, 40, [200, 100, 50]); // or classifier.predict_file("photo.jpg")
//! for guess in classifier.predict(&photo)?.top(2) {
//!     println!("{} {:.1} %", guess.title, 100.0 * guess.probability);
//! }
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Features of a layer, here used to compare the similarity of images:
//!
//! ```
//! # use alexnet_inference::example;
//! use alexnet_inference::{Classifier, Image, neighbours::distance};
//!
//! # let folder = example::folder();
//! let classifier = Classifier::open(&folder)?;
//! let [red, pink, blue] = [[200, 30, 30], [220, 60, 70], [20, 40, 200]]
//!     .map(|color| classifier.features(Some("conv1"), &Image::filled(8, 8, color)));
//! let (red, pink, blue) = (red?, pink?, blue?);
//! assert!(distance(&red, &pink) < distance(&red, &blue));
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod classifier;
pub mod device;
mod error;
#[doc(hidden)]
pub mod example;
pub mod explain;
pub mod features;
pub mod lpips;
mod model;
pub mod neighbours;
mod predictor;
pub mod probe;

pub use augment::Image;
pub use classifier::{Classifier, Guess, Options, Prediction};
pub use error::{Error, Result};
pub use model::{Model, Views, titles};
pub use predictor::{InferencePlan, NoSuchLayer, Predictor};
