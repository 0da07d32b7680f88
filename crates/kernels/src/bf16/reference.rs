//! Rounding by arithmetic, and elementwise sums in f64: the specification.

/// The nearest float with 8 significant bits; denormal results have fewer.
pub fn round(x: f32) -> f32 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    // The distance between neighbouring results; denormal ones all have the same distance.
    let exponent = f64::from(x).abs().log2().floor().max(-126.0) as i32;
    let unit = 2f64.powi(exponent - 7);
    ((f64::from(x) / unit).round_ties_even() * unit) as f32
}

/// `r(x) + r(y)`, flushed to zero with its sign where denormal.
pub fn add(x: &[f32], y: &[f32]) -> Vec<f32> {
    let sum = |(&x, &y): (&f32, &f32)| (f64::from(round(x)) + f64::from(round(y))) as f32;
    let flushed = |x: f32| if x.abs() < f32::MIN_POSITIVE { 0.0f32.copysign(x) } else { x };
    x.iter().zip(y).map(sum).map(flushed).collect()
}
