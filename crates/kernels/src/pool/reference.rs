//! Pooling window by window, in f64: the specification.

use super::{Geometry, Reduction, Ties};
use ndarray::Array4;

type Index = (usize, usize, usize, usize);

/// y from x.
pub fn forward(g: &Geometry, x: &Array4<f64>) -> Array4<f64> {
    Array4::from_shape_fn((g.images, g.out_height(), g.out_width(), g.channels), |o| {
        let window = window(g, o);
        match g.reduction {
            Reduction::Max { .. } => window.iter().fold(f64::NEG_INFINITY, |greatest, &i| {
                if x[i] > greatest || x[i].is_nan() { x[i] } else { greatest }
            }),
            Reduction::Average => window.iter().map(|&i| x[i]).sum::<f64>() / window.len() as f64,
        }
    })
}

/// dx from x, y = forward(x) and dy.
pub fn backward(g: &Geometry, x: &Array4<f64>, y: &Array4<f64>, dy: &Array4<f64>) -> Array4<f64> {
    let mut dx = Array4::zeros(x.dim());
    for (o, &dy) in dy.indexed_iter() {
        let window = window(g, o);
        let mut greatest = window.iter().filter(|&&i| x[i] == y[o]);
        match g.reduction {
            Reduction::Max { ties: Ties::All } => greatest.for_each(|&i| dx[i] += dy),
            Reduction::Max { ties: Ties::First } => {
                greatest.next().into_iter().for_each(|&i| dx[i] += dy)
            }
            Reduction::Average => window.iter().for_each(|&i| dx[i] += dy / window.len() as f64),
        }
    }
    dx
}

/// The input pixels that output pixel `o` covers, in reading order.
fn window(g: &Geometry, (image, row, column, channel): Index) -> Vec<Index> {
    let along = |out: usize, extent: usize| {
        let first = (out * g.stride) as isize - g.pad as isize;
        (first..first + g.window as isize)
            .filter(move |&at| at >= 0 && at < extent as isize)
            .map(|at| at as usize)
    };
    along(row, g.height)
        .flat_map(|y| along(column, g.width).map(move |x| (image, y, x, channel)))
        .collect()
}
