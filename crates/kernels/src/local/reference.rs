//! The locally connected layer in plain loops with f64 sums: the specification.

use super::Geometry;
use crate::conv;
use ndarray::{Array1, Array4, ArrayView1, ArrayView4};

/// Calls `visit` with indices into y, w and x for every product, as for a convolution, but with
/// each output pixel's own filters.
fn each_product(g: &Geometry, mut visit: impl FnMut([usize; 4], [usize; 4], [usize; 4])) {
    let width = g.out_width();
    conv::reference::each_product(&g.windows, |y_idx, [f, kh, kw, c], x_idx| {
        let [_, i, j, _] = y_idx;
        visit(y_idx, [(i * width + j) * g.filters + f, kh, kw, c], x_idx);
    });
}

/// `y = local(x, w) + b`, rectified if `relu` is set.
pub fn forward(
    g: &Geometry,
    x: ArrayView4<f64>,
    w: ArrayView4<f64>,
    b: ArrayView1<f64>,
) -> Array4<f64> {
    let shape = (g.images, g.out_height(), g.out_width(), g.filters);
    let mut y =
        Array4::from_shape_fn(shape, |(_, i, j, f)| b[(i * g.out_width() + j) * g.filters + f]);
    each_product(g, |y_idx, w_idx, x_idx| y[y_idx] += x[x_idx] * w[w_idx]);
    if g.relu {
        y.mapv_inplace(|y| y.max(0.0));
    }
    y
}

/// The gradient of the input, from the gradient before the ReLU.
pub fn backward_input(g: &Geometry, dy: ArrayView4<f64>, w: ArrayView4<f64>) -> Array4<f64> {
    let mut dx = Array4::zeros((g.images, g.height, g.width, g.channels));
    each_product(g, |y_idx, w_idx, x_idx| dx[x_idx] += dy[y_idx] * w[w_idx]);
    dx
}

/// The gradients of filters and biases, from the gradient before the ReLU.
pub fn backward_filter(
    g: &Geometry,
    x: ArrayView4<f64>,
    dy: ArrayView4<f64>,
) -> (Array4<f64>, Array1<f64>) {
    let filters = g.out_height() * g.out_width() * g.filters;
    let mut dw = Array4::zeros((filters, g.window.0, g.window.1, g.channels / g.groups));
    each_product(g, |y_idx, w_idx, x_idx| dw[w_idx] += dy[y_idx] * x[x_idx]);
    let db =
        dy.sum_axis(ndarray::Axis(0)).into_shape_with_order(filters).expect("one bias per filter");
    (dw, db)
}
