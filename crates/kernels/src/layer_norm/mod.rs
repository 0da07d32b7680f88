//! Layer normalisation (Ba, Kiros and Hinton 2016) of each row by itself:
//!
//! ```text
//! y[r, c] = scale[c] h[r, c] + shift[c],   h[r, c] = (x[r, c] - m[r]) / sqrt(v[r] + e)
//! ```
//!
//! m and v are the mean and the variance, with n below, of row r. A row is an image's units; of
//! maps it is a pixel's channels, as in ConvNeXt (Liu et al. 2022) and torchvision's `LayerNorm2d`.
//! (Ba et al. take all units of an image together, of maps too.) Training and testing are the same,
//! and one image does not know of another.
//!
//! Sums are taken in f64, in an order fixed by the shape. The floor is memory: x is read and y
//! written forward; backward reads x and dy twice and writes dx.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::per_channel;
use tensor::{Device, Result, Shape, Slot};

/// A matrix of rows that are normalised each by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Pixels of all images, or images where there are units instead of maps.
    pub rows: usize,
    /// Channels or units.
    pub channels: usize,
    /// e: what is added to a variance. More than 0.
    pub epsilon: f32,
}

impl Geometry {
    /// Floats of scratch memory that [`backward`] needs.
    pub fn scratch(&self) -> usize {
        2 * self.rows + per_channel::scratch(2, self.rows, self.channels)
    }

    /// Each row's mean and inverse deviation, and room for sums.
    fn parts(&self, scratch: Slot) -> [Slot; 2] {
        let sums = Shape::from([self.scratch() - 2 * self.rows]);
        [scratch.part(0, Shape::from([2 * self.rows])), scratch.part(2 * self.rows, sums)]
    }

    fn check(&self, matrices: &[Slot], vectors: &[Slot]) {
        let len = self.rows * self.channels;
        assert!(matrices.iter().all(|slot| slot.len() == len), "{self:?}: {matrices:?}");
        let fit = vectors.iter().all(|slot| slot.len() == self.channels);
        assert!(fit, "{self:?}: a number for each channel: {vectors:?}");
        assert!(self.epsilon > 0.0, "epsilon is {}", self.epsilon);
    }
}

/// y from x, scale and shift.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not fit the geometry, here and below.
pub fn forward(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    scale: Slot,
    shift: Slot,
    y: Slot,
) -> Result<()> {
    g.check(&[x, y], &[scale, shift]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, x, scale, shift, y),
        Device::Cuda(cuda) => cuda::forward(cuda, g, x, scale, shift, y),
    }
}

/// What a backward pass works on.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The input.
    pub x: Slot,
    /// The gradient of the output.
    pub dy: Slot,
    /// The scale.
    pub scale: Slot,
    /// Written: the gradient of the input, if anybody wants it.
    pub dx: Option<Slot>,
    /// Written: that of the scale.
    pub d_scale: Slot,
    /// Written: that of the shift.
    pub d_shift: Slot,
}

/// The gradients.
///
/// # Errors
/// If the device fails.
pub fn backward(device: &mut Device, g: &Geometry, b: &Backward, scratch: Slot) -> Result<()> {
    g.check(&[b.x, b.dy, b.dx.unwrap_or(b.x)], &[b.scale, b.d_scale, b.d_shift]);
    assert!(scratch.len() >= g.scratch(), "{} floats of scratch", scratch.len());
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, g, b, scratch),
        Device::Cuda(cuda) => cuda::backward(cuda, g, b, scratch),
    }
}
