//! AlexNet and its relatives as a library: define, train, fine-tune, explain and use convolutional
//! networks, on CPUs and NVIDIA GPUs. CUDA is found at run time; building needs Rust only.
//!
//! This crate re-exports the libraries of the workspace under short names. Each can also be used
//! alone, as `alexnet-augment`, `alexnet-data` and so on. The [`prelude`] has the types of most
//! programs.
//!
//! | module | contents |
//! |---|---|
//! | [`layers`], [`models`] | networks as rows; the built-in ones |
//! | [`data`], [`augment`] | data sets and batches; crops, resizing, colours |
//! | [`train`], [`parallel`] | the training loop; several devices |
//! | [`weights`] | trained parameters in files, also of other programs |
//! | [`inference`], [`evaluate`] | a trained network in one call; scores and predictions |
//! | [`tensor`], [`kernels`], [`random`] | memory and devices; the ops; named random draws |
//! | `report` (feature `report`) | figures as SVG, PNG and HTML |
//! | `serve` (feature `serve`) | a web page and an HTTP interface for a trained network |
//!
//! ```
//! use alexnet::prelude::*;
//!
//! // A network of your own, on one device, from pixels to scores.
//! let spec = Spec::image("tiny", 12, 12, 3)
//!     .conv("conv1", 8, window(3).pad(1)).relu().pool(window(3).stride(2))
//!     .linear("fc2", 10);
//! let mut planner = Planner::new();
//! let mut device = Device::cpu(2); // or Device::best(0).0: a GPU, if there is one
//! let network = Network::plan(&spec, 4, &mut planner, device.target())?;
//! device.reserve(planner.total())?;
//! device.upload(network.input, &[1.0f32; 4 * 12 * 12 * 3])?;
//! network.forward(&mut device, Phase::Test)?;
//! assert_eq!(device.download::<f32>(network.output)?.len(), 4 * 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The folder `examples` of this crate has programs that generate their own data and run in
//! seconds:
//!
//! * `own_network`: a network and a training loop of your own
//! * `own_layer`: a layer of your own
//! * `own_data`: a data source of your own
//! * `fine_tune`: fine-tuning from a file of weights
//! * `features`: features of a photograph
//! * `augment`: data augmentation alone
//! * `conv_ndarray`: a convolution of arrays of ndarray
//! * `plot`: a line plot as SVG
//!
//! # Features
//!
//! All are off by default; `full` enables all.
//!
//! * `image`: [`augment::Image`] to and from the crate image's `RgbImage`; re-exports `image`
//! * `ndarray`: arrays to and from images, data sets and devices, with checked shapes; re-exports
//!   `ndarray`
//! * `rand`: `View::sample`, random crops from any generator of the crate rand
//! * `report`, `serve`: the modules of these names
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use augment;
pub use data;
pub use evaluate;
pub use inference;
pub use kernels;
pub use layers;
pub use models;
pub use parallel;
pub use random;
pub use tensor;
pub use train;
pub use weights;

#[cfg(feature = "image")]
pub use image;
#[cfg(feature = "ndarray")]
pub use ndarray;
#[cfg(feature = "report")]
pub use report;
#[cfg(feature = "serve")]
pub use serve;

pub mod prelude {
    //! The types of most programs: `use alexnet::prelude::*`.

    pub use augment::{ColorShift, Image, Resizer, View};
    pub use data::{Loader, LoaderPlan, Memory, ReadBuffer, Shapes, Source, Statistics};
    pub use evaluate::{Evaluate, Observer, Score, Silent, Stop, Tally};
    pub use inference::{Classifier, Guess, Model, Prediction};
    pub use layers::{Network, Phase, Spec, TrainableNetwork, window};
    pub use random::{Purpose, Stream};
    pub use tensor::{DType, Device, Planner, Shape, Slot, Target};
    pub use train::executor::{Executor, StepRequest};
    pub use train::folder::RunFolder;
    pub use train::recipe::{Augment, Recipe};
    pub use train::recipes;
    pub use train::run::{Job, Session};
    pub use train::schedule::Setting;
    pub use weights::Weights;
}
