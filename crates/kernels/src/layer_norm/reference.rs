//! Layer normalisation in f64: the specification.

use ndarray::{Array1, Array2, Axis};

/// h, and each row's inverse deviation 1 / sqrt(v + e).
pub fn normalised(epsilon: f64, x: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
    let n = x.ncols() as f64;
    let centred = x - &(x.sum_axis(Axis(1)) / n).insert_axis(Axis(1));
    let variance = centred.mapv(|d| d * d).sum_axis(Axis(1)) / n;
    let inverse = variance.mapv(|v| 1.0 / (v + epsilon).sqrt()).insert_axis(Axis(1));
    (centred * &inverse, inverse)
}

/// y = scale h + shift.
pub fn forward(
    epsilon: f64,
    x: &Array2<f64>,
    scale: &Array1<f64>,
    shift: &Array1<f64>,
) -> Array2<f64> {
    normalised(epsilon, x).0 * scale + shift
}

/// dx and the gradients of scale and shift.
pub fn backward(
    epsilon: f64,
    x: &Array2<f64>,
    scale: &Array1<f64>,
    dy: &Array2<f64>,
) -> (Array2<f64>, Array1<f64>, Array1<f64>) {
    let n = x.ncols() as f64;
    let (h, inverse) = normalised(epsilon, x);
    let dh = dy * scale;
    let mean = (dh.sum_axis(Axis(1)) / n).insert_axis(Axis(1));
    let slope = ((&dh * &h).sum_axis(Axis(1)) / n).insert_axis(Axis(1));
    let dx = (&dh - &mean - &h * &slope) * inverse;
    (dx, (dy * &h).sum_axis(Axis(0)), dy.sum_axis(Axis(0)))
}
