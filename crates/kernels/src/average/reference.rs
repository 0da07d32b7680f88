//! The average in f64: the specification.

/// Moves `y` towards `x`.
pub fn step(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        let old = f64::from(*y);
        *y = (old + f64::from(factor) * (f64::from(x) - old)) as f32;
    }
}
