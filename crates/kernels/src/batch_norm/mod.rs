//! Batch normalisation (Ioffe and Szegedy 2015) of each channel, over all pixels of all images of a
//! batch:
//!
//! ```text
//! y[r, c] = scale[c] h[r, c] + shift[c],   h[r, c] = (x[r, c] - mean[c]) / sqrt(variance[c] + e)
//! ```
//!
//! In training, mean and variance are those of the batch, with gradients through both. The variance
//! is divided by n, the number of rows. Images that only pad a batch are excluded: `batch` holds
//! the number of images that count, which come first. At test time, running statistics are used:
//!
//! ```text
//! running <- running + momentum (batch - running)
//! ```
//!
//! where the batch's variance is divided by n - 1 (by n, if n is 1), as in PyTorch. The backward
//! pass writes `share momentum (running - batch)` as the gradient of a running statistic: a plain
//! update at rate 1 then performs the line above. So a batch may be split into shards, each
//! normalised by itself; `share` is a shard's share of the batch's images, and these gradients are
//! added over shards like all others.
//!
//! All sums are taken in f64, in an order fixed by the shape. Memory bound: forward reads x twice
//! and writes y; backward reads x and dy twice and writes dx.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::per_channel;
use tensor::{DType, Device, Result, Shape, Slot};

/// A matrix of all images' pixels by channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Images in a batch.
    pub images: usize,
    /// Pixels of an image; 1 where there are units instead of maps.
    pub pixels: usize,
    /// Channels or units.
    pub channels: usize,
    /// e: added to the variance. More than 0.
    pub epsilon: f32,
}

/// Scale, shift, mean and variance: one value per channel each.
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    /// Multiplies the normalised input.
    pub scale: Slot,
    /// Added to the product.
    pub shift: Slot,
    /// The running mean, or the batch's.
    pub mean: Slot,
    /// The running variance, or the batch's.
    pub variance: Slot,
}

impl Vectors {
    fn all(&self) -> [Slot; 4] {
        [self.scale, self.shift, self.mean, self.variance]
    }
}

impl Geometry {
    fn rows(&self) -> usize {
        self.images * self.pixels
    }

    /// Floats of scratch memory that every function of this op needs.
    pub fn scratch(&self) -> usize {
        4 * self.channels + per_channel::scratch(2, self.rows(), self.channels)
    }

    /// Scratch memory for the coefficients of each channel, and for partial sums.
    fn parts(&self, scratch: Slot) -> [Slot; 2] {
        let coefficients = 4 * self.channels;
        let sums = Shape::from([self.scratch() - coefficients]);
        [scratch.part(0, Shape::from([coefficients])), scratch.part(coefficients, sums)]
    }

    fn check(&self, matrices: &[Slot], vectors: &[Slot], scratch: Slot) {
        let len = self.rows() * self.channels;
        assert!(matrices.iter().all(|slot| slot.len() == len), "{self:?}: {matrices:?}");
        let fit = vectors.iter().all(|slot| slot.len() == self.channels);
        assert!(fit, "{self:?}: one value per channel: {vectors:?}");
        assert!(scratch.len() >= self.scratch(), "{} floats of scratch", scratch.len());
        assert!(self.epsilon > 0.0, "epsilon is {}", self.epsilon);
    }
}

fn check_batch(batch: Slot) {
    assert_eq!((batch.dtype(), batch.len()), (DType::U32, 2), "a batch slot holds two words");
}

/// y, with the mean and variance in `vectors`.
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
    vectors: Vectors,
    y: Slot,
    scratch: Slot,
) -> Result<()> {
    g.check(&[x, y], &vectors.all(), scratch);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, x, vectors, y, scratch),
        Device::Cuda(cuda) => cuda::forward(cuda, g, x, vectors, y),
    }
}

/// Operands of [`forward_batch`].
#[derive(Clone, Copy, Debug)]
pub struct ForwardBatch {
    /// Two u32: the number of images that count, and the bits of their share of the batch, an f32.
    pub batch: Slot,
    /// The input.
    pub x: Slot,
    /// Read: scale and shift. Written: the batch's mean and variance.
    pub vectors: Vectors,
    /// Written: the output.
    pub y: Slot,
}

/// Computes the batch's mean and variance, and y with them. If no image counts, y is the shift.
///
/// # Errors
/// If the device fails.
pub fn forward_batch(
    device: &mut Device,
    g: &Geometry,
    f: &ForwardBatch,
    scratch: Slot,
) -> Result<()> {
    g.check(&[f.x, f.y], &f.vectors.all(), scratch);
    check_batch(f.batch);
    match device {
        Device::Cpu(cpu) => cpu::forward_batch(cpu, g, f, scratch),
        Device::Cuda(cuda) => cuda::forward_batch(cuda, g, f, scratch),
    }
}

/// Operands of [`backward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// As in [`ForwardBatch`].
    pub batch: Slot,
    /// The input.
    pub x: Slot,
    /// The gradient of the output; zero for images that do not count.
    pub dy: Slot,
    /// The scale, and the running mean and variance.
    pub vectors: Vectors,
    /// The weight of a batch in the running statistics.
    pub momentum: f32,
    /// Written: the gradient of the input, if needed.
    pub dx: Option<Slot>,
    /// Written: the gradients of scale and shift. Mean and variance hold the batch's before the
    /// call, and the gradients of the running ones after it.
    pub gradients: Vectors,
}

/// Computes the gradients. [`forward_batch`] must have written the batch's mean and variance to
/// `gradients` before.
///
/// # Errors
/// If the device fails.
pub fn backward(device: &mut Device, g: &Geometry, b: &Backward, scratch: Slot) -> Result<()> {
    g.check(&[b.x, b.dy, b.dx.unwrap_or(b.x)], &b.vectors.all(), scratch);
    g.check(&[], &b.gradients.all(), scratch);
    check_batch(b.batch);
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, g, b, scratch),
        Device::Cuda(cuda) => cuda::backward(cuda, g, b, scratch),
    }
}
