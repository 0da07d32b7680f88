//! Adam (Kingma and Ba 2015, algorithm 1), with weight decay as L2 regularisation: added to the
//! gradient, as in PyTorch's `Adam`:
//!
//! ```text
//! g <- dw + decay w
//! m <- beta1 m + (1 - beta1) g
//! s <- beta2 s + (1 - beta2) g^2
//! w <- w - rate (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + e)
//! ```
//!
//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) leaves the decay out of g and applies it to
//! the weights, as PyTorch's `AdamW`: `w <- (1 - rate decay) w - ...`.
//!
//! t counts steps from 1. The two divisors are read from a slot, as rates are, so that a recorded
//! step can be replayed. Beta2 is 0.999 and e 1e-8, as in the paper and in PyTorch. Memory bound:
//! 28 bytes per parameter, as dw, w, m and s are read and w, m and s written.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::sgd::{self, Segment};
use tensor::{Device, Result, Slot};

/// beta2: the decay rate of the second moment.
pub const BETA_2: f64 = 0.999;

/// e: keeps the quotient finite.
pub const EPSILON: f32 = 1e-8;

/// The divisors at step `t`, counted from 1: the bias corrections of moments that start at zero.
pub fn corrections(beta_1: f64, t: u64) -> [f32; 2] {
    let power = |beta: f64| beta.powi(t.min(i32::MAX as u64) as i32);
    [beta_1, BETA_2].map(|beta| (1.0 - power(beta)) as f32)
}

/// First and second moments, in blocks laid out like the weights.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// m.
    pub first: Slot,
    /// s.
    pub second: Slot,
}

/// What an update reads besides the gradients.
#[derive(Clone, Copy, Debug)]
pub struct Hyperparameters {
    /// One row of three floats per segment: rate, beta1, decay.
    pub table: Slot,
    /// The two [`corrections`].
    pub corrections: Slot,
    /// Whether the decay is that of AdamW.
    pub decoupled: bool,
}

/// Updates every segment of `w` and of the moments. A segment whose rate is zero keeps its weights
/// and moments.
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
    hyperparameters: Hyperparameters,
    dw: Slot,
    w: Slot,
    moments: Moments,
) -> Result<()> {
    let blocks = [dw, w, moments.first, moments.second];
    sgd::check(segments, hyperparameters.table, blocks);
    assert_eq!(hyperparameters.corrections.len(), 2, "one divisor per moment");
    match device {
        Device::Cpu(cpu) => cpu::step(cpu, segments, hyperparameters, blocks),
        Device::Cuda(cuda) => cuda::step(cuda, segments, hyperparameters, blocks),
    }
}
