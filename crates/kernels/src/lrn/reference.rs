//! Local response normalisation in f64: the specification.

use super::{Geometry, Region};
use ndarray::{Array4, Zip};
use std::ops::Range;

/// y = x s^-beta.
pub fn forward(g: &Geometry, x: &Array4<f64>) -> Array4<f64> {
    let beta = f64::from(g.beta);
    Zip::from(x).and(&brackets(g, x)).map_collect(|&x, &s| x * s.powf(-beta))
}

/// dx_i = dy_i s_i^-beta - 2 alpha beta x_i sum_j dy_j x_j s_j^(-beta-1), over all j whose windows
/// contain i.
pub fn backward(g: &Geometry, x: &Array4<f64>, dy: &Array4<f64>) -> Array4<f64> {
    let (alpha, beta) = (alpha(g), f64::from(g.beta));
    let s = brackets(g, x);
    let mut dx = Zip::from(dy).and(&s).map_collect(|&dy, &s| dy * s.powf(-beta));
    for (j, &x_j) in x.indexed_iter() {
        let factor = 2.0 * alpha * beta * dy[j] * x_j * s[j].powf(-beta - 1.0);
        for_each_in_window(g, j, |i| dx[i] -= factor * x[i]);
    }
    dx
}

/// s = k + alpha sum_j x_j^2.
fn brackets(g: &Geometry, x: &Array4<f64>) -> Array4<f64> {
    Array4::from_shape_fn(x.dim(), |j| {
        let mut sum = 0.0;
        for_each_in_window(g, j, |i| sum += x[i] * x[i]);
        f64::from(g.k) + alpha(g) * sum
    })
}

fn alpha(g: &Geometry) -> f64 {
    f64::from(g.alpha) / if g.divide_alpha { g.terms() as f64 } else { 1.0 }
}

type Index = (usize, usize, usize, usize);

fn for_each_in_window(g: &Geometry, (image, y, x, channel): Index, mut visit: impl FnMut(Index)) {
    // `size` indices starting at centre - floor(size / 2), restricted to `all`.
    let window = |centre: usize, all: Range<usize>| {
        let first = centre as isize - (g.size / 2) as isize;
        let last = first + g.size as isize;
        first.max(all.start as isize) as usize..(last as usize).min(all.end)
    };
    match g.region {
        Region::AcrossChannels { towers } => {
            let tower = g.channels / towers;
            let start = channel / tower * tower;
            window(channel, start..start + tower).for_each(|c| visit((image, y, x, c)));
        }
        Region::WithinChannel => {
            for row in window(y, 0..g.height) {
                window(x, 0..g.width).for_each(|column| visit((image, row, column, channel)));
            }
        }
    }
}
