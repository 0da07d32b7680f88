//! Stochastic gradient descent with momentum and weight decay, in the paper's form (section 5):
//!
//! ```text
//! v <- momentum v - rate (dw + decay w)
//! w <- w + v
//! ```
//!
//! The velocity includes the learning rate: when the rate drops, the velocity accumulated so far
//! keeps its size. PyTorch's velocity does not include the rate; [`Rule`] has this form, and both
//! with Nesterov's momentum. One pass over the whole
//! parameter block. Rates are read from a slot, so that a recorded step can be replayed with other
//! rates. Memory bound: 20 bytes per parameter, as dw, w and v are read and w and v written.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

pub(crate) use cpu::updated;

use tensor::{Device, Result, Slot};

/// The form of the update, where g = dw + decay w. With a constant rate those of the paper and of
/// PyTorch are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// `v <- momentum v - rate g`, `w <- w + v`: section 5 of the paper.
    #[default]
    Paper,
    /// `v <- momentum v - rate g`, `w <- w + momentum v - rate g`: Nesterov's momentum with the
    /// rate in the velocity, as in Sutskever et al. 2013 and Caffe.
    PaperNesterov,
    /// `v <- momentum v + g`, `w <- w - rate v`: `torch.optim.SGD`.
    Pytorch,
    /// `v <- momentum v + g`, `w <- w - rate (g + momentum v)`: the same with `nesterov=True`.
    PytorchNesterov,
}

/// The elements of one parameter in the block; they share a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first element.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
}

/// Updates every segment of `w` and `v`. `table` has one row of three floats per segment: rate,
/// momentum, decay. A segment whose rate is zero keeps its weights and velocity, as in the 2012
/// source.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the blocks differ in length, the table has not one row per segment, or a segment exceeds the
/// block.
pub fn step(
    device: &mut Device,
    segments: &[Segment],
    table: Slot,
    dw: Slot,
    w: Slot,
    v: Slot,
) -> Result<()> {
    step_by(device, Rule::Paper, segments, table, dw, w, v)
}

/// As [`step`], by any rule.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`step`].
pub fn step_by(
    device: &mut Device,
    rule: Rule,
    segments: &[Segment],
    table: Slot,
    dw: Slot,
    w: Slot,
    v: Slot,
) -> Result<()> {
    check(segments, table, [dw, w, v]);
    match device {
        Device::Cpu(cpu) => cpu::step(cpu, rule, segments, table, [dw, w, v]),
        Device::Cuda(cuda) => cuda::step(cuda, rule, segments, table, [dw, w, v]),
    }
}

/// # Panics
/// As [`step`].
pub(crate) fn check<const N: usize>(segments: &[Segment], table: Slot, blocks: [Slot; N]) {
    let len = blocks[0].len();
    assert!(blocks.iter().all(|block| block.len() == len), "blocks of different lengths");
    assert_eq!(table.len(), 3 * segments.len(), "three values per segment");
    for segment in segments {
        assert!(segment.start + segment.len <= len, "{segment:?} of {len} floats");
    }
}
