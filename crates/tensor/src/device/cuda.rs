//! NVIDIA cards: the place is kept, so that no signature changes when they come.

use crate::{Error, Result};
use std::convert::Infallible;

/// An NVIDIA card. None can be opened yet, so no value of this type exists.
#[derive(Debug)]
pub struct Cuda(Infallible);

impl Cuda {
    /// # Errors
    /// Always [`Error::DeviceUnavailable`]: this version computes on the CPU.
    pub fn open(number: usize) -> Result<Cuda> {
        Err(Error::DeviceUnavailable {
            device: format!("cuda:{number}"),
            reason: "this version computes on the CPU only; use --device cpu or auto".to_string(),
        })
    }

    /// The CUDA half of an op that has none: never reached, since no card can be opened.
    pub fn not_yet<T>(&self) -> T {
        match self.0 {}
    }
}
