//! Nonlinearities that act on each element alone (section 3.1), and their derivatives.
//!
//! | kind | y | dx |
//! |---|---|---|
//! | `Relu` | max(0, x) | dy where y > 0, else 0 |
//! | `LeakyRelu { slope: a }` | x where x > 0, else a x | dy where y > 0, else a dy |
//! | `Tanh { outer: a, inner: b }` | a tanh(b x) | dy b (a - y^2 / a) |
//! | `Logistic` | 1 / (1 + e^-x) | dy y (1 - y) |
//! | `Gelu` | x F(x) | dy (F(x) + x f(x)) |
//!
//! F is the normal distribution, (1 + erf(x / sqrt 2)) / 2, and f its density: the exact form of
//! Hendrycks and Gimpel 2016, not the one with a tanh that is near it. The derivative is taken from
//! the output y, so that x need not be kept; but two x have one y under `Gelu`, whose derivative is
//! taken from x. NaN stays NaN. A leaky ReLU is that of Maas, Hannun and Ng 2013.

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
    /// x where x > 0, else slope x.
    LeakyRelu {
        /// Not negative: y must have the sign of x.
        slope: f32,
    },
    /// x F(x).
    Gelu,
}

impl Activation {
    /// Whether the derivative is taken from x, and not from y.
    pub fn reads_input(self) -> bool {
        self == Activation::Gelu
    }
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

/// dx = dy f'(x), where f' is computed from what was kept: y = f(x), or x itself if the kind
/// [reads its input](Activation::reads_input).
///
/// # Errors
/// If the device fails.
pub fn backward(
    device: &mut Device,
    kind: Activation,
    kept: Slot,
    dy: Slot,
    dx: Slot,
) -> Result<()> {
    check(kind, &[kept, dy, dx]);
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, kind, kept, dy, dx),
        Device::Cuda(cuda) => cuda::backward(cuda, kind, kept, dy, dx),
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
