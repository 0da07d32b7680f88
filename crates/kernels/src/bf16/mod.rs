//! Gradients rounded to bfloat16 before they are sent to another rank, which halves the bytes.
//!
//! `r(x)` is x rounded to 8 significant bits, to nearest, ties to even; NaN stays NaN. Two rounded
//! values are packed into the bits of a float, the first in the lower half. Sums are in f32. Memory
//! bound: every element is read and written once.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// Floats that `n` packed values occupy.
pub const fn packed_len(n: usize) -> usize {
    n.div_ceil(2)
}

fn check(x: Slot, y: Slot, [x_len, y_len]: [usize; 2]) {
    for (slot, len) in [(x, x_len), (y, y_len)] {
        assert_eq!(
            (slot.dtype(), slot.len()),
            (DType::F32, len),
            "a slot of shape {}",
            slot.shape()
        );
    }
}

/// `y` = the rounded elements of `x`, two per float; an odd last one is followed by a zero.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If `y` does not have [`packed_len`] elements.
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
/// If `x` does not have [`packed_len`] elements.
pub fn add_packed(device: &mut Device, x: Slot, y: Slot) -> Result<()> {
    check(x, y, [packed_len(y.len()), y.len()]);
    match device {
        Device::Cpu(cpu) => cpu::add_packed(cpu, x, y),
        Device::Cuda(cuda) => cuda::add_packed(cuda, x, y),
    }
}

/// `y = r(x) + r(y)`: the result of [`pack`] followed by [`add_packed`].
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the slots differ in length.
pub fn add_rounded(device: &mut Device, x: Slot, y: Slot) -> Result<()> {
    check(x, y, [x.len(); 2]);
    match device {
        Device::Cpu(cpu) => cpu::add_rounded(cpu, x, y),
        Device::Cuda(cuda) => cuda::add_rounded(cuda, x, y),
    }
}
