//! Memory and devices; no arithmetic.
//!
//! A [`Slot`] is a range of a device's memory with a shape: two words and a few bytes, copied
//! freely. A [`Planner`] lays slots out before anything is allocated and says how many bytes they
//! take; ranges whose slot has been released are given out again. A [`Device`] then reserves that
//! many bytes once, and ops read and write slots in it.
//!
//! * [`Shape`], [`DType`], [`Slot`]: the extents, element type and memory range of a value
//! * [`Planner`]: the memory layout
//! * [`Device`]: the CPU or a CUDA GPU; [`Cpu`] lends slots as slices and runs chunks on its
//!   threads
//! * [`Cuda`]: launches an [`Image`]'s kernels over a [`Grid`], also on checked [`Operand`]s; a [`Recording`] is a step, replayed
//! * [`nccl`]: communication between GPUs, where NCCL is installed
//! * [`cublaslt`]: matrix products by cuBLASLt, where it is installed and enabled;
//!   [`cudnn`]: convolutions by cuDNN
//! * [`tune`]: choice of the algorithm of GPU operations
//! * [`Precision`]: the format of operands of products; [`amx`]: whether a CPU supports bf16
//! * [`free_memory`]: the memory that the process can still allocate
//! * [`Error`]: errors of devices
//!
//! Feature, off by default: `ndarray` adds `Device::upload_array` and `download_array`, which check
//! shapes.
//!
//! ```
//! use alexnet_tensor::{DType, Device, Planner, Shape};
//!
//! let mut planner = Planner::new();
//! let x = planner.claim(DType::F32, Shape::from([2, 3]));
//! let y = planner.claim(DType::F32, Shape::from([2, 3]));
//! let mut device = Device::cpu(2);
//! device.reserve(planner.total())?;
//!
//! device.upload(x, &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! if let Device::Cpu(cpu) = &mut device {
//!     let [x, y] = cpu.floats([x, y]); // both at once; an overlap would panic
//!     y.iter_mut().zip(&*x).for_each(|(y, x)| *y = 10.0 * x);
//! }
//! assert_eq!(device.download::<f32>(y)?, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
//! # Ok::<(), alexnet_tensor::Error>(())
//! ```
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod device;
mod dtype;
mod error;
mod planner;
mod precision;
mod shape;
mod slot;
mod traffic;

pub use device::{
    Address, Argument, Choice, Cpu, Cuda, Device, FreeMemory, Grid, Image, Lap, Lent, Operand,
    PinnedBuffer, Pool, Recording, Target, Vectors, amx, free_memory,
};
pub use device::{cublaslt, cudnn, nccl, tune};
pub use dtype::{Bf16, DType, Element};
pub use error::{Error, Result};
pub use planner::Planner;
pub use precision::Precision;
pub use shape::Shape;
pub use slot::Slot;
pub use traffic::Traffic;
