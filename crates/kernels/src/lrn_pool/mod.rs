//! Local response normalisation, then max pooling, in one pass: [`lrn`] and
//! [`pool`] say the formulas, and the bits are theirs.
//!
//! ```text
//! b = lrn(a)      y = pool(b)                      x is a; b is never stored
//! da = lrn'(a) pool'(b) dy, and zero where a <= 0  if a came out of a ReLU (`relu`)
//! ```
//!
//! The normalised map b is as large as a, four and a half times as large as y, and wanted for two
//! things only: y itself, and to tell which pixel was each window's maximum. So forward normalises
//! a few pixels in the first cache and lets their windows take their maxima at once; backward
//! normalises them again, finds the maxima by comparing with y, and goes on to the LRN's gradient,
//! whose powers are then at hand. As the gradient of a pixel needs no other pixel's a, it is
//! written over a, and the ReLU's mask with it: that saves the memory of b and of two gradients.
//!
//! The floor is memory: forward reads a and writes y, backward reads a, y and dy and writes da.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::lrn::{self, Region};
use crate::pool::{self, Kind, Ties};
use tensor::{Device, Result, Slot};

/// The two ops, on the same map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// The normalisation, across channels.
    pub lrn: lrn::Geometry,
    /// The pooling: of maxima, each of which takes the whole gradient (`Ties::All`).
    pub pool: pool::Geometry,
    /// x came out of a ReLU, whose mask its gradient takes.
    pub relu: bool,
}

impl Geometry {
    /// Floats that a pixel may take, with the zeros between its towers that windows reach into.
    pub const ROOM: usize = 1024;

    /// Whether the two can be computed in one pass: windows across channels, pixels that fit
    /// [`ROOM`](Self::ROOM), maxima, `Ties::All`.
    pub fn fits(region: Region, size: usize, channels: usize, kind: Kind) -> bool {
        let Region::AcrossChannels { towers } = region else { return false };
        let laid_out = channels + towers * size.saturating_sub(1);
        kind == Kind::Max { ties: Ties::All } && towers > 0 && laid_out <= Self::ROOM
    }

    fn check(&self, x: Slot, outputs: &[Slot]) {
        let Geometry { lrn, pool, .. } = self;
        assert_eq!(lrn.shape(), pool.in_shape(), "two ops on different maps");
        let fits = Self::fits(lrn.region, lrn.size, lrn.channels, pool.kind);
        assert!(fits, "{lrn:?} and {pool:?} are not computed in one pass");
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

    /// Floats of a pixel with the zeros between its towers.
    fn laid_out(&self) -> usize {
        self.towers() * (self.tower() + self.lrn.size - 1)
    }

    fn row_len(&self) -> usize {
        self.lrn.width * self.lrn.channels
    }
}

/// y = pool(lrn(x)).
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If an operand does not have the geometry's shape, or the two ops do not fit in one pass, here
/// and below.
pub fn forward(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(x, &[y]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, x, y),
        Device::Cuda(cuda) => cuda::forward(cuda, g, x, y),
    }
}

/// The gradient of x from y = forward(x) and dy, written over x.
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
        Device::Cpu(cpu) => cpu::backward_in_place(cpu, g, y, dy, x),
        Device::Cuda(cuda) => cuda::backward_in_place(cuda, g, y, dy, x),
    }
}
