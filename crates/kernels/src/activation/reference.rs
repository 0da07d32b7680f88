//! Elementwise nonlinearities by their formulas, in f64: the specification.

use super::Activation;
use ndarray::{ArrayD, Zip};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// y = f(x).
pub fn forward(kind: Activation, x: &ArrayD<f64>) -> ArrayD<f64> {
    x.mapv(|x| match kind {
        Activation::Relu if x <= 0.0 => 0.0,
        Activation::Relu => x,
        Activation::Tanh { outer, inner } => f64::from(outer) * (f64::from(inner) * x).tanh(),
        Activation::Logistic => 1.0 / (1.0 + (-x).exp()),
        Activation::LeakyRelu { slope } if x <= 0.0 => f64::from(slope) * x,
        Activation::LeakyRelu { .. } => x,
        Activation::Gelu => x * normal(x),
    })
}

/// dx = dy f'(x), where `saved` is y = f(x); for `Gelu` it is x.
pub fn backward(kind: Activation, saved: &ArrayD<f64>, dy: &ArrayD<f64>) -> ArrayD<f64> {
    Zip::from(saved).and(dy).map_collect(|&y, &dy| match kind {
        Activation::Relu if y <= 0.0 => 0.0,
        Activation::Relu => dy,
        Activation::Tanh { outer, inner } => {
            dy * f64::from(inner) * (f64::from(outer) - y * y / f64::from(outer))
        }
        Activation::Logistic => dy * y * (1.0 - y),
        Activation::LeakyRelu { slope } if y <= 0.0 => f64::from(slope) * dy,
        Activation::LeakyRelu { .. } => dy,
        Activation::Gelu => {
            let x = y;
            dy * (normal(x) + x * (-x * x / 2.0).exp() / (2.0 * PI).sqrt())
        }
    })
}

/// F(x), the cumulative distribution function of N(0, 1).
pub fn normal(x: f64) -> f64 {
    erfc(-x * FRAC_1_SQRT_2) / 2.0
}

/// 1 - erf x, to about 15 digits: Taylor's series of erf below 2.5, Laplace's continued fraction of
/// erfc above (Abramowitz and Stegun 7.1.6 and 7.1.14).
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let scale = (-x * x).exp() / PI.sqrt();
    if x < 2.5 {
        let (mut term, mut sum) = (2.0 * x, 0.0);
        for n in 1..100 {
            sum += term;
            term *= 2.0 * x * x / f64::from(2 * n + 1);
        }
        return 1.0 - scale * sum;
    }
    // 1 / (x + (1/2) / (x + (2/2) / (x + (3/2) / ...))), innermost term first.
    scale / (1..100).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below)
}
