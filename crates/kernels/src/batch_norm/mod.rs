//! Batch normalisation (Ioffe and Szegedy 2015), over all pixels of all images of a batch, channel
//! by channel:
//!
//! ```text
//! y[r, c] = scale[c] h[r, c] + shift[c],   h[r, c] = (x[r, c] - mean[c]) / sqrt(variance[c] + e)
//! ```
//!
//! In training, mean and variance are those of the batch, the variance with n below, n being the
//! rows; gradients flow through both. Images that only fill a batch up take no part: `batch` says
//! how many of the first do. At test time, mean and variance are running ones:
//!
//! ```text
//! running <- running + momentum (batch's - running)
//! ```
//!
//! with n - 1 below the batch's variance (n, if n is 1), as in PyTorch. The backward pass writes
//! what makes a plain update at rate 1 do this, `share momentum (running - batch's)`, as if it were
//! a gradient. So a batch may be cut into shards, each normalised by itself; `share` is a shard's
//! share of the batch's images, and gradients of shards are added up as any others are.
//!
//! All sums are taken in f64, in an order fixed by the shape. The floor is memory, where an element
//! is four bytes: forward reads x twice and writes y; backward reads x and dy twice and writes dx.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::per_channel;
use tensor::{DType, Device, Result, Shape, Slot};

/// A matrix of pixels, of all images, by channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Images in a batch.
    pub images: usize,
    /// Pixels of an image; 1 where there are units instead of maps.
    pub pixels: usize,
    /// Channels or units.
    pub channels: usize,
    /// e: what is added to a variance. More than 0.
    pub epsilon: f32,
}

/// What is learned, and mean and variance: a number for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    /// What a normalised input is multiplied by.
    pub scale: Slot,
    /// What is added then.
    pub shift: Slot,
    /// Running, or the batch's.
    pub mean: Slot,
    /// Likewise.
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

    /// Floats of scratch memory that every function here needs.
    pub fn scratch(&self) -> usize {
        4 * self.channels + per_channel::scratch(2, self.rows(), self.channels)
    }

    /// Coefficients of each channel, and room for sums.
    fn parts(&self, scratch: Slot) -> [Slot; 2] {
        let coefficients = 4 * self.channels;
        let sums = Shape::from([self.scratch() - coefficients]);
        [scratch.part(0, Shape::from([coefficients])), scratch.part(coefficients, sums)]
    }

    fn check(&self, matrices: &[Slot], vectors: &[Slot], scratch: Slot) {
        let len = self.rows() * self.channels;
        assert!(matrices.iter().all(|slot| slot.len() == len), "{self:?}: {matrices:?}");
        let fit = vectors.iter().all(|slot| slot.len() == self.channels);
        assert!(fit, "{self:?}: a number for each channel: {vectors:?}");
        assert!(scratch.len() >= self.scratch(), "{} floats of scratch", scratch.len());
        assert!(self.epsilon > 0.0, "epsilon is {}", self.epsilon);
    }
}

fn check_batch(batch: Slot) {
    assert_eq!((batch.dtype(), batch.len()), (DType::U32, 2), "two words about the batch");
}

/// y under the mean and the variance that `vectors` has.
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

/// Writes the batch's mean and variance to where `vectors` has them, and y under them. `batch`
/// holds two words: how many of the images count, and the bits of their share, a float. If none
/// counts, y is the shift.
///
/// # Errors
/// If the device fails.
pub fn forward_batch(
    device: &mut Device,
    g: &Geometry,
    batch: Slot,
    x: Slot,
    vectors: Vectors,
    y: Slot,
    scratch: Slot,
) -> Result<()> {
    g.check(&[x, y], &vectors.all(), scratch);
    check_batch(batch);
    match device {
        Device::Cpu(cpu) => cpu::forward_batch(cpu, g, batch, x, vectors, y, scratch),
        Device::Cuda(cuda) => cuda::forward_batch(cuda, g, batch, x, vectors, y, scratch),
    }
}

/// What a backward pass works on.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// As in [`forward_batch`].
    pub batch: Slot,
    /// The input.
    pub x: Slot,
    /// The gradient of the output; zero where an image does not count.
    pub dy: Slot,
    /// The scale, and the running mean and variance.
    pub vectors: Vectors,
    /// How much of the batch goes into a running mean and variance.
    pub momentum: f32,
    /// Written: the gradient of the input, if anybody wants it.
    pub dx: Option<Slot>,
    /// Written: gradients of scale and shift. Mean and variance are the batch's before, and what
    /// moves the running ones after.
    pub gradients: Vectors,
}

/// The gradients, after [`forward_batch`] has written the batch's mean and variance to
/// `gradients`.
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
