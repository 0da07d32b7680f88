//! Gradients on their way to another rank, rounded to bfloat16: half of the bytes.
//!
//! `r(x)` is the nearest float with 8 significant bits, of two equally near ones the even one; what
//! is no number stays none. Two of them lie in the word of a float, the first in its lower half.
//! Sums are of f32. The floor is memory: what is read and written, once.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// Floats that `n` rounded ones take.
pub const fn packed_len(n: usize) -> usize {
    n.div_ceil(2)
}

fn check(x: Slot, y: Slot, [x_len, y_len]: [usize; 2]) {
    for (slot, len) in [(x, x_len), (y, y_len)] {
        assert_eq!((slot.dtype(), slot.len()), (DType::F32, len), "a slot of {}", slot.shape());
    }
}

/// `y` = the floats of `x`, rounded, two in a word; after an odd number comes a zero.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If `y` has not [`packed_len`] floats.
pub fn pack(device: &mut Device, x: Slot, y: Slot) -> Result<()> {
    check(x, y, [x.len(), packed_len(x.len())]);
    match device {
        Device::Cpu(cpu) => cpu::pack(cpu, x, y),
        Device::Cuda(cuda) => cuda::pack(cuda, x, y),
    }
}

/// `y = x + r(y)`, where `x` is packed.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If `x` has not [`packed_len`] floats.
pub fn add_packed(device: &mut Device, x: Slot, y: Slot) -> Result<()> {
    check(x, y, [packed_len(y.len()), y.len()]);
    match device {
        Device::Cpu(cpu) => cpu::add_packed(cpu, x, y),
        Device::Cuda(cuda) => cuda::add_packed(cuda, x, y),
    }
}

/// `y = r(x) + r(y)`: what [`pack`] and [`add_packed`] come to.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the slots are of different lengths.
pub fn add_rounded(device: &mut Device, x: Slot, y: Slot) -> Result<()> {
    check(x, y, [x.len(); 2]);
    match device {
        Device::Cpu(cpu) => cpu::add_rounded(cpu, x, y),
        Device::Cuda(cuda) => cuda::add_rounded(cuda, x, y),
    }
}
