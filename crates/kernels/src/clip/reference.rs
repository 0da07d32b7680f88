//! Clipping in plain loops and f64: the specification.

use super::{BLOCK, Rows};

/// Limits gradients, and returns the norms of the blocks of `rows`.
pub fn norms(rows: &Rows, limit: f32, dw: &mut [f32]) -> Vec<f64> {
    let mut norms = Vec::new();
    for row in 0..rows.count {
        for block in 0..rows.row.div_ceil(BLOCK) {
            let mut sum = 0.0;
            for column in block * BLOCK..rows.row.min((block + 1) * BLOCK) {
                let dw = &mut dw[rows.start + row * rows.row + column];
                *dw = dw.clamp(-limit, limit);
                sum += f64::from(*dw) * f64::from(*dw);
            }
            norms.push(sum.sqrt());
        }
    }
    norms
}

/// Multiplies gradients.
pub fn scale(factor: f32, dw: &mut [f32]) {
    for dw in dw {
        *dw = (f64::from(factor) * f64::from(*dw)) as f32;
    }
}
