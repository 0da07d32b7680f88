//! Adam's update in f64: the specification.

use super::{BETA_2, EPSILON};
use ndarray::ArrayViewMut1;

/// Updates one segment at step `t`, counted from 1, unless its rate is zero. `moments` are m and s;
/// `decoupled` is AdamW.
pub fn step(
    decoupled: bool,
    [rate, beta_1, decay]: [f64; 3],
    t: i32,
    dw: &[f64],
    mut w: ArrayViewMut1<f64>,
    [mut m, mut s]: [ArrayViewMut1<f64>; 2],
) {
    if rate == 0.0 {
        return;
    }
    for idx in 0..dw.len() {
        let g = if decoupled { dw[idx] } else { dw[idx] + decay * w[idx] };
        m[idx] = beta_1 * m[idx] + (1.0 - beta_1) * g;
        s[idx] = BETA_2 * s[idx] + (1.0 - BETA_2) * g * g;
        let first = m[idx] / (1.0 - beta_1.powi(t));
        let second = s[idx] / (1.0 - BETA_2.powi(t));
        if decoupled {
            w[idx] *= 1.0 - rate * decay;
        }
        w[idx] -= rate * first / (second.sqrt() + f64::from(EPSILON));
    }
}
