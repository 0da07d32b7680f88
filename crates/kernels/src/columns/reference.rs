//! Columns one element at a time: the specification.

use super::Geometry;
use ndarray::Array2;

/// `y` with its range of columns replaced by that of `x`.
pub fn copy(g: &Geometry, x: &Array2<f32>, y: &Array2<f32>) -> Array2<f32> {
    over(g, x, y, |x, _| x)
}

/// `y` with the range of columns of `x` added to its own.
pub fn add(g: &Geometry, x: &Array2<f32>, y: &Array2<f32>) -> Array2<f32> {
    over(g, x, y, |x, y| (f64::from(x) + f64::from(y)) as f32)
}

fn over(
    g: &Geometry,
    x: &Array2<f32>,
    y: &Array2<f32>,
    value: impl Fn(f32, f32) -> f32,
) -> Array2<f32> {
    Array2::from_shape_fn(y.dim(), |(row, column)| {
        let range = g.y.first..g.y.first + g.count;
        if range.contains(&column) {
            value(x[(row, g.x.first + column - g.y.first)], y[(row, column)])
        } else {
            y[(row, column)]
        }
    })
}
