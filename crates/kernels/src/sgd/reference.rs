//! SGD's update in f64: the specification.

use ndarray::ArrayViewMut1;

/// Updates one segment: `v <- momentum v - rate (dw + decay w)`, `w <- w + v`, unless `rate` is
/// zero.
pub fn step(
    [rate, momentum, decay]: [f32; 3],
    dw: &[f32],
    mut w: ArrayViewMut1<f32>,
    mut v: ArrayViewMut1<f32>,
) {
    if rate == 0.0 {
        return;
    }
    let [rate, momentum, decay] = [rate, momentum, decay].map(f64::from);
    for idx in 0..dw.len() {
        let (old_w, old_v) = (f64::from(w[idx]), f64::from(v[idx]));
        let new_v = momentum * old_v - rate * (f64::from(dw[idx]) + decay * old_w);
        v[idx] = new_v as f32;
        w[idx] = (old_w + new_v) as f32;
    }
}
