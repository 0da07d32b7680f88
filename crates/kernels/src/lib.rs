//! The ops: stateless arithmetic from slots to slots.
//!
//! Each op is a folder with the same files: `mod.rs` has the formula in the paper's symbols, the
//! geometry, the checks and the match over the device; `reference.rs` is the specification, the op
//! in plain loops with f64 sums; `cpu.rs` and `cuda.rs` are the fast implementations. Arguments
//! have one order: device, geometry, inputs, outputs.
//!
//! * [`preprocess`]: pixels to the network's input
//! * [`conv`], [`local`], [`linear`]: layers with weights; [`gemm`]: the register tile that they
//!   use; [`stored`]: their weights in bf16; [`value`]: activations in bf16
//! * [`activation`], [`prelu`], [`lrn`], [`pool`], [`dropout`]; [`lrn_pool`]: two of them in one
//!   pass; [`batch_norm`], [`layer_norm`]: normalisations of later networks
//! * [`columns`]: splits and joins channels, for towers; [`bf16`]: rounds gradients that are sent
//!   to another device
//! * [`softmax_loss`]: the loss, its gradient and the errors; [`sgd`], [`adam`]: the updates;
//!   [`clip`]: limits gradients before them; [`average`]: averages weights after them
//! * [`denormal`]: denormal results are flushed to zero
//!
//! An op's results are bit-identical for any number of threads and any vector width: AVX-512, AVX2
//! and portable code agree.
//!
//! ```
//! use alexnet_kernels::lrn::{self, Geometry, Region};
//! use tensor::{DType, Device, Planner, Shape};
//!
//! // One pixel of three channels, normalised over windows of three: section 3.3 of the paper.
//! let geometry = Geometry {
//!     images: 1, height: 1, width: 1, channels: 3,
//!     region: Region::AcrossChannels { towers: 1 },
//!     size: 3, alpha: 1.0, beta: 0.5, k: 7.0, divide_alpha: false,
//! };
//! let mut planner = Planner::new();
//! let x = planner.claim(DType::F32, Shape::from([1, 1, 1, 3]));
//! let y = planner.claim(DType::F32, Shape::from([1, 1, 1, 3]));
//! let mut device = Device::cpu(1);
//! device.reserve(planner.total())?;
//!
//! device.upload(x, &[1.0f32, 2.0, 2.0])?;
//! lrn::forward(&mut device, &geometry, x, y)?;
//! let middle = device.download::<f32>(y)?[1]; // 2 / sqrt(7 + 1 + 4 + 4)
//! assert!((middle - 0.5).abs() < 1e-6);
//! # Ok::<(), tensor::Error>(())
//! ```
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod activation;
pub mod adam;
pub mod average;
pub mod batch_norm;
pub mod bf16;
pub mod clip;
pub mod columns;
pub mod conv;
pub mod denormal;
pub mod dropout;
pub mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod local;
pub mod lrn;
pub mod lrn_pool;
pub mod operands;
mod per_channel;
pub mod pool;
mod prefetch;
pub mod prelu;
pub mod preprocess;
mod segments;
pub mod sgd;
mod simd;
pub mod softmax_loss;
pub mod stored;
#[cfg(test)]
mod tests;
pub mod value;
mod windows;
