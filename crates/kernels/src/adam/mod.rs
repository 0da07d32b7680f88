//! Adam (Kingma and Ba 2015, algorithm 1), with weight decay as L2 regularisation, that is, in the
//! gradient, as PyTorch's `Adam` has it (and not its `AdamW`):
//!
//! ```text
//! g <- dw + decay w
//! m <- beta1 m + (1 - beta1) g
//! s <- beta2 s + (1 - beta2) g^2
//! w <- w - rate (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + e)
//! ```
//!
//! t counts steps from 1. The two divisors stand in a slot, as rates do, so that a recorded step
//! can be replayed. Beta2 is 0.999 and e 1e-8, as in the paper and in PyTorch. The floor is memory:
//! dw, w, m and s are read, w, m and s written, 28 bytes a parameter.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::sgd::Segment;
use tensor::{Device, Result, Slot};

/// How much of the second moment stays from step to step.
pub const BETA_2: f64 = 0.999;

/// What keeps the quotient finite.
pub const EPSILON: f32 = 1e-8;

/// The divisors at step `t`, counted from 1: what is missing in moments that began with zero.
pub fn corrections(beta_1: f64, t: u64) -> [f32; 2] {
    let power = |beta: f64| beta.powi(t.min(i32::MAX as u64) as i32);
    [beta_1, BETA_2].map(|beta| (1.0 - power(beta)) as f32)
}

/// First and second moments: blocks laid out as the weights are.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// m.
    pub first: Slot,
    /// s.
    pub second: Slot,
}

/// Updates every segment of `w` and of the moments. `table` has a row of three floats a segment:
/// rate, beta1, decay; `corrections` two, of [`corrections`]. A segment whose rate is zero is left
/// alone, moments and all.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the blocks differ in size, the table has not one row a segment, or a segment lies outside.
pub fn step(
    device: &mut Device,
    segments: &[Segment],
    [table, corrections]: [Slot; 2],
    dw: Slot,
    w: Slot,
    moments: Moments,
) -> Result<()> {
    let Moments { first, second } = moments;
    let same = [dw, first, second].iter().all(|block| block.len() == w.len());
    assert!(same, "blocks of different sizes");
    assert_eq!(table.len(), 3 * segments.len(), "three numbers a segment");
    assert_eq!(corrections.len(), 2, "a divisor for each moment");
    for segment in segments {
        assert!(segment.start + segment.len <= w.len(), "{segment:?} of {} floats", w.len());
    }
    match device {
        Device::Cpu(cpu) => cpu::step(cpu, segments, [table, corrections], dw, w, moments),
        Device::Cuda(cuda) => cuda::step(cuda, segments, [table, corrections], dw, w, moments),
    }
}
