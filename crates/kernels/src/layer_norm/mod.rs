//! Layer normalisation (Ba, Kiros and Hinton 2016) of each row:
//!
//! ```text
//! y[r, c] = scale[c] h[r, c] + shift[c],   h[r, c] = (x[r, c] - m[r]) / sqrt(v[r] + e)
//! ```
//!
//! m and v are the mean and the variance of row r; the variance is divided by n, the length of the
//! row. A row has the units of an image; in maps it has the channels of a pixel, as in ConvNeXt
//! (Liu et al. 2022) and torchvision's `LayerNorm2d`. (Ba et al. normalise all units of an image
//! together, in maps too.) Training and testing are the same, and images are independent.
//!
//! Sums are taken in f64, in an order fixed by the shape. Memory bound: forward reads x and writes
//! y; backward reads x and dy twice and writes dx.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::per_channel;
use tensor::{Device, Result, Shape, Slot};

/// A matrix whose rows are normalised independently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Pixels of all images, or images where there are units instead of maps.
    pub rows: usize,
    /// Channels or units.
    pub channels: usize,
    /// e: added to the variance. More than 0.
    pub epsilon: f32,
}

impl Geometry {
    /// Floats of scratch memory that [`backward`] needs.
    pub fn scratch(&self) -> usize {
        2 * self.rows + per_channel::scratch(2, self.rows, self.channels)
    }

    /// Scratch memory for each row's mean and inverse deviation, and for partial sums.
    fn parts(&self, scratch: Slot) -> [Slot; 2] {
        let sums = Shape::from([self.scratch() - 2 * self.rows]);
        [scratch.part(0, Shape::from([2 * self.rows])), scratch.part(2 * self.rows, sums)]
    }

    fn check(&self, matrices: &[Slot], vectors: &[Slot]) {
        let len = self.rows * self.channels;
        assert!(matrices.iter().all(|slot| slot.len() == len), "{self:?}: {matrices:?}");
        let fit = vectors.iter().all(|slot| slot.len() == self.channels);
        assert!(fit, "{self:?}: one value per channel: {vectors:?}");
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
        Device::Cpu(cpu) => cpu::forward(cpu, g, [x, scale, shift, y]),
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, scale, shift, y]),
    }
}

/// Operands of [`backward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The input.
    pub x: Slot,
    /// The gradient of the output.
    pub dy: Slot,
    /// The scale.
    pub scale: Slot,
    /// Written: the gradient of the input, if needed.
    pub dx: Option<Slot>,
    /// Written: the gradient of the scale.
    pub d_scale: Slot,
    /// Written: the gradient of the shift.
    pub d_shift: Slot,
}

/// Computes the gradients.
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
