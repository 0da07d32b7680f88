//! Local response normalisation (section 3.3).
//!
//! The paper's formula, for channel i at one pixel, in its symbols:
//!
//! ```text
//! b_i = a_i / (k + alpha sum_j a_j^2)^beta       j in i - n/2 ..= i + n/2, inside the channels
//! ```
//!
//! Here x is a, y is b, and s is the expression in brackets. Sources differ in three points, which
//! are options: whether alpha is divided by the number of terms (`divide_alpha`; the 2012 source,
//! Caffe and PyTorch divide, the paper's formula does not), whether windows end at the edge of a
//! tower (`towers`), and whether a window extends across channels or over the map of one channel
//! (`Region`). A window of even size has one more element below its centre than above, as in the
//! source: it starts at i - floor(size / 2).
//!
//! Backward recomputes s from x, which is cheaper than reading it from memory. The sum runs over
//! all j whose windows contain i:
//!
//! ```text
//! dx_i = dy_i s_i^-beta - 2 alpha beta x_i sum_j dy_j x_j s_j^(-beta-1)
//! ```

mod across;
mod cpu;
pub(crate) mod cuda;
pub(crate) mod power;
pub mod reference;
#[cfg(test)]
mod tests;
mod within;

pub(crate) use across::window_sums;

use tensor::{Device, Result, Shape, Slot};

/// What a window extends over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Region {
    /// Neighbouring channels of one pixel.
    AcrossChannels {
        /// Windows end at the edges of this many equal blocks of channels.
        towers: usize,
    },
    /// `size` x `size` pixels of one channel's map.
    WithinChannel,
}

/// An input of `[images, height, width, channels]`, and the formula's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Images in the batch.
    pub images: usize,
    /// Height of the map.
    pub height: usize,
    /// Width of the map.
    pub width: usize,
    /// Channels of all towers together.
    pub channels: usize,
    /// What a window extends over.
    pub region: Region,
    /// n: channels in a window, or the side of a window in the map.
    pub size: usize,
    /// alpha as in the specification: see `divide_alpha`.
    pub alpha: f32,
    /// The exponent. 0.75, 0.5 and 1 are fast.
    pub beta: f32,
    /// Added to the scaled sum of squares. Positive, so that s is.
    pub k: f32,
    /// Whether alpha is divided by the number of terms of a whole window.
    pub divide_alpha: bool,
}

impl Geometry {
    /// The shape of x and of y.
    pub fn shape(&self) -> Shape {
        Shape::from([self.images, self.height, self.width, self.channels])
    }

    /// Terms of a window that lies inside the map or tower.
    pub fn terms(&self) -> usize {
        match self.region {
            Region::AcrossChannels { .. } => self.size,
            Region::WithinChannel => self.size * self.size,
        }
    }

    /// The factor of the sum of squares.
    pub fn alpha_per_term(&self) -> f32 {
        if self.divide_alpha { self.alpha / self.terms() as f32 } else { self.alpha }
    }

    /// How many elements a window has below its centre, and above.
    pub(crate) fn reach(&self) -> (usize, usize) {
        (self.size / 2, self.size - 1 - self.size / 2)
    }

    pub(crate) fn check(&self, operands: &[Slot]) {
        let len = self.shape().len();
        assert!(
            operands.iter().all(|slot| slot.len() == len),
            "operands {operands:?} are not of {:?}",
            self.shape()
        );
        assert!(self.size > 0, "a window holds at least its centre");
        assert!(self.k > 0.0 && self.alpha >= 0.0, "k {} or alpha {}", self.k, self.alpha);
        if let Region::AcrossChannels { towers } = self.region {
            let even = towers > 0 && self.channels.is_multiple_of(towers);
            assert!(even, "{} channels in {towers} equal towers", self.channels);
        }
    }
}

/// y = x s^-beta.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If an operand does not have the geometry's shape, or a constant is out of range, here and below.
pub fn forward(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(&[x, y]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, x, y),
        Device::Cuda(cuda) => cuda::forward(cuda, g, x, y),
    }
}

/// dx from x and dy.
///
/// # Errors
/// If the device fails.
pub fn backward(device: &mut Device, g: &Geometry, x: Slot, dy: Slot, dx: Slot) -> Result<()> {
    g.check(&[x, dy, dx]);
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, g, x, dy, dx),
        Device::Cuda(cuda) => cuda::backward(cuda, g, x, dy, dx),
    }
}
