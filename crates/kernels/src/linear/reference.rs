//! The fully connected layer in plain loops with f64 sums: the specification.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

/// `y[n][o] = sum over i of x[n][i] w[o][i], + b[o]`, then max(0, y) if `relu`.
pub fn forward(
    x: ArrayView2<f32>,
    w: ArrayView2<f32>,
    b: ArrayView1<f32>,
    relu: bool,
) -> Array2<f32> {
    Array2::from_shape_fn((x.nrows(), w.nrows()), |(n, o)| {
        let sum: f64 = (0..x.ncols()).map(|i| f64::from(x[[n, i]]) * f64::from(w[[o, i]])).sum();
        let y = (sum + f64::from(b[o])) as f32;
        if relu && y <= 0.0 { 0.0 } else { y }
    })
}

/// `dx[n][i] = sum over o of dy[n][o] w[o][i]`.
pub fn backward_input(dy: ArrayView2<f32>, w: ArrayView2<f32>) -> Array2<f32> {
    Array2::from_shape_fn((dy.nrows(), w.ncols()), |(n, i)| {
        (0..w.nrows()).map(|o| f64::from(dy[[n, o]]) * f64::from(w[[o, i]])).sum::<f64>() as f32
    })
}

/// `dw[o][i] = sum over n of dy[n][o] x[n][i]` and `db[o] = sum over n of dy[n][o]`.
pub fn backward_weights(x: ArrayView2<f32>, dy: ArrayView2<f32>) -> (Array2<f32>, Array1<f32>) {
    let images = 0..x.nrows();
    let dw = Array2::from_shape_fn((dy.ncols(), x.ncols()), |(o, i)| {
        let terms = images.clone().map(|n| f64::from(dy[[n, o]]) * f64::from(x[[n, i]]));
        terms.sum::<f64>() as f32
    });
    let db = Array1::from_shape_fn(dy.ncols(), |o| {
        images.clone().map(|n| f64::from(dy[[n, o]])).sum::<f64>() as f32
    });
    (dw, db)
}
