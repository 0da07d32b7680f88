//! Elementwise nonlinearities (section 3.1), and their derivatives.
//!
//! | kind | y | dx |
//! |---|---|---|
//! | `Relu` | max(0, x) | dy where y > 0, else 0 |
//! | `LeakyRelu { slope: a }` | x where x > 0, else a x | dy where y > 0, else a dy |
//! | `Tanh { outer: a, inner: b }` | a tanh(b x) | dy b (a - y^2 / a) |
//! | `Logistic` | 1 / (1 + e^-x) | dy y (1 - y) |
//! | `Gelu` | x F(x) | dy (F(x) + x f(x)) |
//!
//! F is the cumulative distribution function of the normal distribution, (1 + erf(x / sqrt 2)) / 2,
//! and f its density. This is the exact GELU of Hendrycks and Gimpel 2016, not its approximation
//! with tanh. The derivative is computed from the output y, so x need not be saved; only `Gelu`,
//! for which two x can have the same y, computes it from x. NaN stays NaN. The leaky ReLU is that
//! of Maas, Hannun and Ng 2013.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{Device, Result, Slot};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// a tanh(b x).
    Tanh {
        /// a: the limit at infinity. Not 0.
        outer: f32,
        /// b.
        inner: f32,
    },
    /// 1 / (1 + e^-x).
    Logistic,
    /// x where x > 0, else slope x.
    LeakyRelu {
        /// At least 0, so that y has the sign of x.
        slope: f32,
    },
    /// x F(x).
    Gelu,
}

impl Activation {
    /// Whether the derivative is computed from x instead of y.
    pub fn reads_input(self) -> bool {
        self == Activation::Gelu
    }
}

/// y = f(x), for slots of any shape.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the slots differ in length, here and below.
pub fn forward(device: &mut Device, kind: Activation, x: Slot, y: Slot) -> Result<()> {
    check(kind, &[x, y]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, kind, x, y),
        Device::Cuda(cuda) => cuda::forward(cuda, kind, x, y),
    }
}

/// dx = dy f'(x). f' is computed from `saved`: y = f(x), or x itself if the function
/// [reads its input](Activation::reads_input).
///
/// # Errors
/// If the device fails.
pub fn backward(
    device: &mut Device,
    kind: Activation,
    saved: Slot,
    dy: Slot,
    dx: Slot,
) -> Result<()> {
    check(kind, &[saved, dy, dx]);
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, kind, [saved, dy, dx]),
        Device::Cuda(cuda) => cuda::backward(cuda, kind, [saved, dy, dx]),
    }
}

/// dy <- dy where y > 0, else 0, in place: the backward pass of a ReLU that is fused into the op
/// that wrote y.
///
/// # Errors
/// If the device fails.
pub fn mask_by_relu(device: &mut Device, y: Slot, dy: Slot) -> Result<()> {
    check(Activation::Relu, &[y, dy]);
    match device {
        Device::Cpu(cpu) => cpu::mask_by_relu(cpu, y, dy),
        Device::Cuda(cuda) => cuda::backward(cuda, Activation::Relu, [y, dy, dy]),
    }
}

fn check(kind: Activation, operands: &[Slot]) {
    let len = operands[0].len();
    assert!(operands.iter().all(|slot| slot.len() == len), "operands differ in size: {operands:?}");
    match kind {
        Activation::Tanh { outer, inner } => {
            let usable = outer != 0.0 && outer.is_finite() && inner.is_finite();
            assert!(usable, "{outer} tanh({inner} x) has no derivative that y determines");
        }
        Activation::LeakyRelu { slope } => {
            let usable = slope >= 0.0 && slope.is_finite();
            assert!(usable, "a slope of {slope} has no derivative that y determines");
        }
        Activation::Relu | Activation::Logistic | Activation::Gelu => {}
    }
}
