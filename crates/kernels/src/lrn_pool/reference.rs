//! LRN, then max pooling, in f64: the specification.

use super::Geometry;
use crate::{lrn, pool};
use ndarray::Array4;

/// y from x.
pub fn forward(g: &Geometry, x: &Array4<f64>) -> Array4<f64> {
    pool::reference::forward(&g.pool, &lrn::reference::forward(&g.lrn, x))
}

/// dx from x and dy.
pub fn backward(g: &Geometry, x: &Array4<f64>, dy: &Array4<f64>) -> Array4<f64> {
    let normal = lrn::reference::forward(&g.lrn, x);
    let y = pool::reference::forward(&g.pool, &normal);
    let d_normal = pool::reference::backward(&g.pool, &normal, &y, dy);
    let mut dx = lrn::reference::backward(&g.lrn, x, &d_normal);
    if g.relu {
        dx.zip_mut_with(x, |dx, &x| *dx = if x <= 0.0 { 0.0 } else { *dx });
    }
    dx
}
