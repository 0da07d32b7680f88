//! Convolution in plain loops with f64 sums: the specification.

use super::Geometry;
use ndarray::{Array1, Array4, ArrayView1, ArrayView4};

/// Calls `visit([n, i, j, f], [f, kh, kw, c], [n, row, column, channel])`, with indices into y, w
/// and x, for every product of the convolution that is not in the padding.
pub(crate) fn each_product(
    g: &Geometry,
    mut visit: impl FnMut([usize; 4], [usize; 4], [usize; 4]),
) {
    let (group_channels, group_filters) = (g.channels / g.groups, g.filters / g.groups);
    for n in 0..g.images {
        for (i, j, f) in ndarray::indices((g.out_height(), g.out_width(), g.filters)) {
            let first_channel = f / group_filters * group_channels;
            for (kh, kw) in ndarray::indices(g.window) {
                let row = (i * g.stride + kh).checked_sub(g.pad.top).filter(|&row| row < g.height);
                let column =
                    (j * g.stride + kw).checked_sub(g.pad.left).filter(|&column| column < g.width);
                if let (Some(row), Some(column)) = (row, column) {
                    for c in 0..group_channels {
                        visit([n, i, j, f], [f, kh, kw, c], [n, row, column, first_channel + c]);
                    }
                }
            }
        }
    }
}

/// `y = conv(x, w) + b`, rectified if `relu` is set.
pub fn forward(
    g: &Geometry,
    x: ArrayView4<f64>,
    w: ArrayView4<f64>,
    b: ArrayView1<f64>,
) -> Array4<f64> {
    let shape = (g.images, g.out_height(), g.out_width(), g.filters);
    let mut y = Array4::from_shape_fn(shape, |(_, _, _, f)| b[f]);
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
    let mut dw = Array4::zeros((g.filters, g.window.0, g.window.1, g.channels / g.groups));
    each_product(g, |y_idx, w_idx, x_idx| dw[w_idx] += dy[y_idx] * x[x_idx]);
    let db =
        dy.lanes(ndarray::Axis(3)).into_iter().fold(Array1::zeros(g.filters), |db, dy| db + dy);
    (dw, db)
}
