//! An exponential moving average: `y <- y + factor (x - y)`.
//!
//! The form is that of `torch.lerp`, which `torch.optim.swa_utils` uses: from a factor of one half
//! on it is `x - (1 - factor) (x - y)`, so that a factor of one copies x. The factor is read from a
//! slot, so that a recorded step can be replayed with another. Memory bound: 12 bytes per element,
//! as x and y are read and y is written.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{Device, Result, Slot};

/// Moves `y` towards `x` by the one value in `factor`, between 0 and 1.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If x and y differ in length.
pub fn step(device: &mut Device, factor: Slot, x: Slot, y: Slot) -> Result<()> {
    assert_eq!(factor.len(), 1, "one factor");
    assert_eq!(x.len(), y.len(), "blocks of different lengths");
    match device {
        Device::Cpu(cpu) => cpu::step(cpu, factor, x, y),
        Device::Cuda(cuda) => cuda::step(cuda, factor, x, y),
    }
}
