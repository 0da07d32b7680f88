//! The specification, in f64.

use super::Activation;
use ndarray::{ArrayD, Zip};

/// y = f(x).
pub fn forward(kind: Activation, x: &ArrayD<f64>) -> ArrayD<f64> {
    x.mapv(|x| match kind {
        Activation::Relu if x <= 0.0 => 0.0,
        Activation::Relu => x,
        Activation::Tanh { outer, inner } => f64::from(outer) * (f64::from(inner) * x).tanh(),
        Activation::Logistic => 1.0 / (1.0 + (-x).exp()),
    })
}

/// dx = dy f'(x), from y = f(x).
pub fn backward(kind: Activation, y: &ArrayD<f64>, dy: &ArrayD<f64>) -> ArrayD<f64> {
    Zip::from(y).and(dy).map_collect(|&y, &dy| match kind {
        Activation::Relu if y <= 0.0 => 0.0,
        Activation::Relu => dy,
        Activation::Tanh { outer, inner } => {
            dy * f64::from(inner) * (f64::from(outer) - y * y / f64::from(outer))
        }
        Activation::Logistic => dy * y * (1.0 - y),
    })
}
