//! AlexNet and related networks, each written like the table in its paper.
//!
//! A model is only a list of rows ([`layers::Spec`]): a recipe defines how it is trained, a device
//! where it runs.
//!
//! * [`alexnet`]: the paper's network, the 2012 source's, Caffe's, torchvision's, and one for 64 x
//!   64 images
//! * [`notebook`]: the 2012 source's variations of its network, the paper's ablations
//! * [`vgg`]: Simonyan and Zisserman's deeper networks of 2014, with small windows
//! * [`cifar`]: cuda-convnet's networks for CIFAR-10
//!
//! ```
//! let spec = alexnet_models::find("alexnet")?;
//! assert_eq!(spec.parameters()?, 60_965_224);
//! let unknown = alexnet_models::find("alexnett").unwrap_err().to_string();
//! assert!(unknown.starts_with("there is no model `alexnett`; did you mean `alexnet`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod alexnet;
pub mod cifar;
mod find;
pub mod notebook;
pub mod vgg;

pub use find::{Model, UnknownModel, all, find, specs};
