//! Clipping of gradients: values beyond a limit, and the norm of all of them together.
//!
//! ```text
//! dw <- min(max(dw, -limit), limit)
//! norm = sqrt(sum dw^2)
//! dw <- factor dw
//! ```
//!
//! [`norms`] clips values and computes norms of blocks, [`scale`] multiplies. The caller combines
//! the blocks' norms, in f64 and in their order ([`combined`]), and computes the factor. A block is
//! a part of one row, that is, of one filter or one unit, so devices that share the rows of a
//! parameter in any way compute the same blocks. Memory bound: [`norms`] reads 4 bytes per
//! gradient and writes them if there is a limit, [`scale`] reads and writes them.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

pub use cpu::squares;

use crate::sgd::Segment;
use tensor::{Device, Result, Slot};

/// The maximum number of gradients in a block.
pub const BLOCK: usize = 4096;

/// Consecutive rows of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first gradient.
    pub start: usize,
    /// Gradients of a row.
    pub row: usize,
    /// The number of rows.
    pub count: usize,
    /// The index of the first row's first block among all norms.
    pub at: usize,
}

impl Rows {
    /// Blocks of a row of `row` gradients.
    pub fn blocks_of(row: usize) -> usize {
        row.div_ceil(BLOCK)
    }

    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.count * Self::blocks_of(self.row)
    }
}

/// Limits the absolute values of gradients to `limit`, which may be infinite, and computes the norm
/// of each block of `rows`. Other norms do not change. The norm of a block is rounded to f32; that
/// of a block with a value that is not a number is not a number.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If rows exceed the gradients, or their blocks the norms.
pub fn norms(device: &mut Device, rows: &[Rows], limit: f32, dw: Slot, norms: Slot) -> Result<()> {
    for rows in rows {
        assert!(rows.start + rows.row * rows.count <= dw.len(), "{rows:?} of {} floats", dw.len());
        assert!(rows.at + rows.blocks() <= norms.len(), "{rows:?}: {} norms", norms.len());
    }
    match device {
        Device::Cpu(cpu) => cpu::norms(cpu, rows, limit, dw, norms),
        Device::Cuda(cuda) => cuda::norms(cuda, rows, limit, dw, norms),
    }
}

/// Multiplies the gradients of every segment by the one value in `factor`.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a segment exceeds the gradients.
pub fn scale(device: &mut Device, segments: &[Segment], factor: Slot, dw: Slot) -> Result<()> {
    assert_eq!(factor.len(), 1, "one factor");
    for segment in segments {
        assert!(segment.start + segment.len <= dw.len(), "{segment:?} of {} floats", dw.len());
    }
    match device {
        Device::Cpu(cpu) => cpu::scale(cpu, segments, factor, dw),
        Device::Cuda(cuda) => cuda::scale(cuda, segments, factor, dw),
    }
}

/// The norm of all gradients from those of blocks, summed in their order.
pub fn combined(norms: impl Iterator<Item = f32>) -> f64 {
    norms.map(|norm| f64::from(norm) * f64::from(norm)).sum::<f64>().sqrt()
}

/// The factor that takes gradients of norm `norm` to `max`: PyTorch's `clip_grad_norm_`.
pub fn factor(norm: f64, max: f64) -> f64 {
    (max / (norm + 1e-6)).min(1.0)
}
