//! PReLU, a ReLU with a trainable slope per channel for negative inputs (He, Zhang, Ren and Sun
//! 2015, "Delving deep into rectifiers", section 2.1):
//!
//! ```text
//! y[r, c]  = x[r, c] where x[r, c] > 0, else a[c] x[r, c]
//! dx[r, c] = dy[r, c] where x[r, c] > 0, else a[c] dy[r, c]
//! da[c]    = sum over r of dy[r, c] x[r, c] where x[r, c] <= 0
//! ```
//!
//! Both gradients are computed from x: a slope may become negative, and then y does not show the
//! sign of x. The sum is taken in an order fixed by the shape. NaN stays NaN. Memory bound: 8 bytes
//! per element forward, 20 backward in two passes.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::per_channel;
use tensor::{Device, Result, Slot};

/// A matrix of all images' pixels by channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels of all images, or images where there are units instead of maps.
    pub rows: usize,
    /// Channels or units; each has a slope.
    pub channels: usize,
}

impl Geometry {
    /// Floats of scratch memory that [`backward_slopes`] needs.
    pub fn scratch(&self) -> usize {
        per_channel::scratch(1, self.rows, self.channels)
    }

    fn check(&self, matrices: &[Slot], vector: Slot) {
        let len = self.rows * self.channels;
        assert!(matrices.iter().all(|slot| slot.len() == len), "{self:?}: {matrices:?}");
        assert_eq!(vector.len(), self.channels, "one slope per channel");
    }
}

/// y from x and the slopes a.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not fit the geometry, here and below.
pub fn forward(device: &mut Device, g: &Geometry, x: Slot, a: Slot, y: Slot) -> Result<()> {
    g.check(&[x, y], a);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, [x, a, y]),
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, a, y]),
    }
}

/// dx from x, the slopes a and dy.
///
/// # Errors
/// If the device fails.
pub fn backward_input(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    a: Slot,
    dy: Slot,
    dx: Slot,
) -> Result<()> {
    g.check(&[x, dy, dx], a);
    match device {
        Device::Cpu(cpu) => cpu::backward_input(cpu, g, [x, a, dy, dx]),
        Device::Cuda(cuda) => cuda::backward_input(cuda, g, [x, a, dy, dx]),
    }
}

/// da from x and dy.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// Also if the scratch memory is smaller than [`Geometry::scratch`].
pub fn backward_slopes(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    dy: Slot,
    da: Slot,
    scratch: Slot,
) -> Result<()> {
    g.check(&[x, dy], da);
    assert!(scratch.len() >= g.scratch(), "{} floats of scratch", scratch.len());
    match device {
        Device::Cpu(cpu) => cpu::backward_slopes(cpu, g, [x, dy, da, scratch]),
        Device::Cuda(cuda) => cuda::backward_slopes(cuda, g, [x, dy, da, scratch]),
    }
}
