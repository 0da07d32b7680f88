//! Local response normalisation and max pooling in one pass. The formulas are those of [`lrn`] and
//! [`pool`], and the results bit-identical to theirs.
//!
//! ```text
//! b = lrn(a)      y = pool(b)                      x is a; b is never stored
//! da = lrn'(a) pool'(b) dy, and zero where a <= 0  if a is the output of a ReLU (`relu`)
//! ```
//!
//! The normalised map b is as large as a and four and a half times as large as y. It is needed only
//! to compute y and to find the pixel that was each window's maximum. So forward normalises a few
//! pixels in the L1 cache and updates the maxima of their windows at once. Backward normalises them
//! again, finds the maxima by comparing with y, and computes the LRN's gradient with the same
//! powers. The gradient of a pixel needs no other pixel's a, so it is written over a, with the
//! ReLU's mask applied: this saves the memory of b and of two gradients.
//!
//! Memory bound: forward reads a and writes y, backward reads a, y and dy and writes da.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::lrn::{self, Region};
use crate::pool::{self, Reduction, Ties};
use crate::value::{self, any_in_bf16};
use tensor::{Device, Result, Slot};

/// The two ops, on the same map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// The normalisation, across channels.
    pub lrn: lrn::Geometry,
    /// Max pooling, where every maximum receives the whole gradient (`Ties::All`).
    pub pool: pool::Geometry,
    /// x is the output of a ReLU, whose mask is applied to the gradient of x.
    pub relu: bool,
}

impl Geometry {
    /// The most floats of a pixel, including the zeros between its towers that windows extend into.
    pub const ROOM: usize = 1024;

    /// Whether both ops can be computed in one pass: windows across channels, pixels of at most
    /// [`ROOM`](Self::ROOM) floats, max pooling, `Ties::All`.
    pub fn fits(region: Region, size: usize, channels: usize, reduction: Reduction) -> bool {
        let Region::AcrossChannels { towers } = region else { return false };
        let laid_out = channels + towers * size.saturating_sub(1);
        reduction == Reduction::Max { ties: Ties::All } && towers > 0 && laid_out <= Self::ROOM
    }

    fn check(&self, x: Slot, outputs: &[Slot]) {
        let Geometry { lrn, pool, .. } = self;
        assert_eq!(lrn.shape(), pool.in_shape(), "two ops on different maps");
        let fits = Self::fits(lrn.region, lrn.size, lrn.channels, pool.reduction);
        assert!(fits, "{lrn:?} and {pool:?} cannot be computed in one pass");
        lrn.check(&[x]);
        pool.check(&[x], outputs);
    }

    fn towers(&self) -> usize {
        match self.lrn.region {
            Region::AcrossChannels { towers } => towers,
            Region::WithinChannel => unreachable!("checked"),
        }
    }

    fn tower(&self) -> usize {
        self.lrn.channels / self.towers()
    }

    /// Floats of a pixel, including the zeros between its towers.
    fn laid_out(&self) -> usize {
        self.towers() * (self.tower() + self.lrn.size - 1)
    }

    fn row_len(&self) -> usize {
        self.lrn.width * self.lrn.channels
    }
}

/// y = pool(lrn(x)). On a CPU, y may be bf16.
///
/// # Errors
/// If the device fails; [`Error::NoKernel`](tensor::Error::NoKernel) for bf16 on a GPU.
///
/// # Panics
/// If an operand does not have the geometry's shape, or the two ops cannot be computed in one pass,
/// here and below.
pub fn forward(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(x, &[y]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, x, y),
        Device::Cuda(cuda) if any_in_bf16([y]) => {
            value::lacks_bf16(cuda, "normalised values in bf16")
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, x, y),
    }
}

/// The gradient of x, from y = forward(x) and dy, written over x.
///
/// # Errors
/// If the device fails.
pub fn backward_in_place(
    device: &mut Device,
    g: &Geometry,
    y: Slot,
    dy: Slot,
    x: Slot,
) -> Result<()> {
    g.check(x, &[y, dy]);
    match device {
        Device::Cpu(cpu) => cpu::backward_in_place(cpu, g, [y, dy, x]),
        Device::Cuda(cuda) => cuda::backward_in_place(cuda, g, [y, dy, x]),
    }
}
