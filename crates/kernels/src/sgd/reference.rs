//! SGD's update in f64: the specification.

use super::Rule;
use ndarray::ArrayViewMut1;

/// Updates one segment, unless `rate` is zero.
pub fn step(
    rule: Rule,
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
        let g = f64::from(dw[idx]) + decay * old_w;
        let new_v = match rule {
            Rule::Paper | Rule::PaperNesterov => momentum * old_v - rate * g,
            Rule::Pytorch | Rule::PytorchNesterov => momentum * old_v + g,
        };
        let new_w = match rule {
            Rule::Paper => old_w + new_v,
            Rule::PaperNesterov => old_w + momentum * new_v - rate * g,
            Rule::Pytorch => old_w - rate * new_v,
            Rule::PytorchNesterov => old_w - rate * (g + momentum * new_v),
        };
        (v[idx], w[idx]) = (new_v as f32, new_w as f32);
    }
}
