//! Stochastic gradient descent with momentum and weight decay, in the paper's form (section 5):
//!
//! ```text
//! v <- momentum v - rate (dw + decay w)
//! w <- w + v
//! ```
//!
//! The learning rate is inside the velocity: when it drops, the velocity gathered so far keeps its
//! size. (PyTorch's velocity is without it.) One pass over the whole parameter block; rates stand
//! in a slot, so that a recorded step can be replayed under another rate. The floor is memory: dw,
//! w and v are read, w and v written, 20 bytes a parameter.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{Device, Result, Slot};

/// A run of the block that one row of the table rules: a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first float.
    pub start: usize,
    /// How many floats.
    pub len: usize,
}

/// Updates every segment of `w` and `v`. `table` has a row of three floats a segment: rate,
/// momentum, decay. A segment whose rate is zero is left alone, velocity and all, as in the 2012
/// source.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the blocks differ in size, the table has not one row a segment, or a segment lies outside.
pub fn step(
    device: &mut Device,
    segments: &[Segment],
    table: Slot,
    dw: Slot,
    w: Slot,
    v: Slot,
) -> Result<()> {
    assert!(dw.len() == w.len() && v.len() == w.len(), "blocks of different sizes");
    assert_eq!(table.len(), 3 * segments.len(), "three numbers a segment");
    for segment in segments {
        assert!(segment.start + segment.len <= w.len(), "{segment:?} of {} floats", w.len());
    }
    match device {
        Device::Cpu(cpu) => cpu::step(cpu, segments, table, dw, w, v),
        Device::Cuda(cuda) => cuda::step(cuda, segments, table, dw, w, v),
    }
}
