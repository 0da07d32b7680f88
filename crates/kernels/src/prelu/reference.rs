//! PReLU in f64: the specification.

use ndarray::{Array1, Array2};

/// y from x and the slopes.
pub fn forward(x: &Array2<f64>, a: &Array1<f64>) -> Array2<f64> {
    Array2::from_shape_fn(x.dim(), |at| if x[at] > 0.0 { x[at] } else { a[at.1] * x[at] })
}

/// dx and da.
pub fn backward(x: &Array2<f64>, a: &Array1<f64>, dy: &Array2<f64>) -> (Array2<f64>, Array1<f64>) {
    let mut da = Array1::zeros(a.len());
    let dx = Array2::from_shape_fn(x.dim(), |at| {
        if x[at] > 0.0 {
            dy[at]
        } else {
            da[at.1] += dy[at] * x[at];
            a[at.1] * dy[at]
        }
    });
    (dx, da)
}
