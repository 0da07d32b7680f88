//! Batch normalisation in f64, where all rows count: the specification.

use ndarray::{Array1, Array2, Axis};

/// Mean and variance of each channel; the variance is divided by n.
pub fn statistics(x: &Array2<f64>) -> [Array1<f64>; 2] {
    let n = x.nrows() as f64;
    let mean = x.sum_axis(Axis(0)) / n;
    let variance = (x - &mean).mapv(|d| d * d).sum_axis(Axis(0)) / n;
    [mean, variance]
}

/// h = (x - mean) / sqrt(variance + e).
pub fn normalised(
    epsilon: f64,
    x: &Array2<f64>,
    [mean, variance]: &[Array1<f64>; 2],
) -> Array2<f64> {
    (x - mean) / variance.mapv(|variance| (variance + epsilon).sqrt())
}

/// y = scale h + shift.
pub fn forward(
    epsilon: f64,
    x: &Array2<f64>,
    scale: &Array1<f64>,
    shift: &Array1<f64>,
    statistics: &[Array1<f64>; 2],
) -> Array2<f64> {
    normalised(epsilon, x, statistics) * scale + shift
}

/// dx and the gradients of scale and shift, where mean and variance are those of x.
pub fn backward(
    epsilon: f64,
    x: &Array2<f64>,
    scale: &Array1<f64>,
    dy: &Array2<f64>,
) -> (Array2<f64>, Array1<f64>, Array1<f64>) {
    let n = x.nrows() as f64;
    let statistics = statistics(x);
    let h = normalised(epsilon, x, &statistics);
    let d_shift = dy.sum_axis(Axis(0));
    let d_scale = (dy * &h).sum_axis(Axis(0));
    let factor = scale / statistics[1].mapv(|variance| (variance + epsilon).sqrt());
    let dx = (dy - &(&d_shift / n) - &h * &(&d_scale / n)) * factor;
    (dx, d_scale, d_shift)
}

/// The running mean and variance after a batch.
pub fn running(
    momentum: f64,
    x: &Array2<f64>,
    [mean, variance]: &[Array1<f64>; 2],
) -> [Array1<f64>; 2] {
    let n = x.nrows() as f64;
    let [batch_mean, batch_variance] = statistics(x);
    let unbiased = batch_variance * n / (n - 1.0).max(1.0);
    [mean + &((batch_mean - mean) * momentum), variance + &((unbiased - variance) * momentum)]
}
