//! Nonlinearities that act on each element alone (section 3.1), and their derivatives.
//!
//! | kind | y | dx |
//! |---|---|---|
//! | `Relu` | max(0, x) | dy where y > 0, else 0 |
//! | `Tanh { outer: a, inner: b }` | a tanh(b x) | dy b (a - y^2 / a) |
//! | `Logistic` | 1 / (1 + e^-x) | dy y (1 - y) |
//!
//! The derivative is taken from the output y, so that x need not be kept. NaN stays NaN.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{Device, Result, Slot};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// a tanh(b x).
    Tanh {
        /// a: the limit at infinity. Not zero.
        outer: f32,
        /// b.
        inner: f32,
    },
    /// 1 / (1 + e^-x).
    Logistic,
}

/// y = f(x). Any shape.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If x and y hold different numbers of elements, here and below.
pub fn forward(device: &mut Device, kind: Activation, x: Slot, y: Slot) -> Result<()> {
    check(kind, &[x, y]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, kind, x, y),
        Device::Cuda(cuda) => cuda::forward(cuda, kind, x, y),
    }
}

/// dx = dy f'(x), where f' is computed from y = f(x).
///
/// # Errors
/// If the device fails.
pub fn backward(device: &mut Device, kind: Activation, y: Slot, dy: Slot, dx: Slot) -> Result<()> {
    check(kind, &[y, dy, dx]);
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, kind, y, dy, dx),
        Device::Cuda(cuda) => cuda::backward(cuda, kind, y, dy, dx),
    }
}

/// dy <- dy where y > 0, else 0, in place: the backward pass of a ReLU fused into what made y.
///
/// # Errors
/// If the device fails.
pub fn mask_by_relu(device: &mut Device, y: Slot, dy: Slot) -> Result<()> {
    check(Activation::Relu, &[y, dy]);
    match device {
        Device::Cpu(cpu) => cpu::mask_by_relu(cpu, y, dy),
        Device::Cuda(cuda) => cuda::backward(cuda, Activation::Relu, y, dy, dy),
    }
}

fn check(kind: Activation, operands: &[Slot]) {
    let len = operands[0].len();
    assert!(operands.iter().all(|slot| slot.len() == len), "operands differ in size: {operands:?}");
    if let Activation::Tanh { outer, inner } = kind {
        let usable = outer != 0.0 && outer.is_finite() && inner.is_finite();
        assert!(usable, "{outer} tanh({inner} x) has no derivative that y determines");
    }
}
