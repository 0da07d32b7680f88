//! Compiles elementwise loops for the processor that runs them, and functions for such loops.

use tensor::Vectors;

/// Evaluates an expression compiled for the widest vectors of this processor. The compiler never
/// fuses a product and a sum by itself, so results are bit-identical on every processor.
///
/// Functions that the expression calls must be marked `#[inline(always)]`: one that is not inlined
/// is compiled for the baseline instruction set.
macro_rules! vectorized {
    ($work:expr) => {
        $crate::simd::dispatch(
            #[inline(always)]
            || $work,
        )
    };
}
pub(crate) use vectorized;

/// Calls `work` in a function that is compiled for the widest vectors.
///
/// `work` is `FnMut`, because `FnOnce` would call most closures through a function of the
/// compiler's that is not always inlined, and then the closure is compiled for the baseline.
#[inline(always)]
pub(crate) fn dispatch<T>(work: impl FnMut() -> T) -> T {
    struct Direct<F>(F);
    impl<T, F: FnMut() -> T> pulp::NullaryFnOnce for Direct<F> {
        type Output = T;

        #[inline(always)]
        fn call(mut self) -> T {
            (self.0)()
        }
    }
    arch().dispatch(Direct(work))
}

/// The widest vectors that the processor has and that `ALEXNET_VECTORS` allows.
#[inline(always)]
pub(crate) fn arch() -> pulp::Arch {
    match Vectors::limit() {
        Vectors::Avx512 => pulp::Arch::new(),
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => pulp::x86::V3::try_new().map_or(pulp::Arch::Scalar, pulp::Arch::V3),
        _ => pulp::Arch::Scalar,
    }
}

/// x, or zero with its sign where x is denormal, for results of ops
/// ([`denormal`](crate::denormal)). Computed with integers: comparing denormal floats could itself
/// be slow.
#[inline(always)]
pub(crate) fn flushed(x: f32) -> f32 {
    const EXPONENT: u32 = 0x7F80_0000;
    const SIGN: u32 = 0x8000_0000;
    let bits = x.to_bits();
    f32::from_bits(if bits & EXPONENT == 0 { bits & SIGN } else { bits })
}

/// Elements per task of an elementwise op: enough to start a thread for, few enough that two
/// threads share a batch evenly. Fixed, so that results do not depend on the number of threads.
pub(crate) const CHUNK: usize = 1 << 15;

/// A computation on neighbouring channels, few enough at a time that they stay in registers.
pub(crate) trait Strip<T = f32> {
    /// Computes `N` channels, starting with channel `first`.
    fn compute<const N: usize>(&self, first: usize, y: &mut [T; N]);
}

/// Computes all channels of `y`, in strips of 32, then of 8, then one by one.
#[inline(always)]
pub(crate) fn in_strips<T>(y: &mut [T], strip: &impl Strip<T>) {
    let first = strips_of::<32, T>(0, y, strip);
    if first < y.len() {
        let first = strips_of::<8, T>(first, y, strip);
        strips_of::<1, T>(first, y, strip);
    }
}

/// Computes all whole strips starting at `first`; returns the channel after them.
#[inline(always)]
fn strips_of<const N: usize, T>(first: usize, y: &mut [T], strip: &impl Strip<T>) -> usize {
    let strips = y[first..].as_chunks_mut::<N>().0;
    for (idx, y) in strips.iter_mut().enumerate() {
        strip.compute(first + idx * N, y);
    }
    first + strips.len() * N
}

/// e^x within 2 units in the last place, for x in [-87, 88] and clamped outside; NaN stays NaN.
/// Only sums and products, so that loops over it are vectorized and bit-identical on every
/// processor (the system library's results differ between systems).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let (scale, fraction) = split(x);
    scale + scale * fraction
}

/// e^x - 1 within 3 units in the last place, near zero too, for x in [0, 88]; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let x = if x > 88.0 { 88.0 } else { x };
    let (scale, fraction) = split(x);
    scale * fraction + (scale - 1.0)
}

/// 2^n and e^r - 1, where x = n ln 2 + r and |r| <= ln 2 / 2.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    // ln 2 in two parts: the first has so few bits that its product with n is exact.
    const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127);
    let scale = f32::from_bits(exponent << 23);
    // Taylor series: the first omitted term is under 2e-8 of the sum.
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        series = series * r + coefficient;
    }
    (scale, r + r * r * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error over a million values from `low` to `high`, and near zero.
    fn worst(f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let spread = (0..1_000_000).map(|i| low + (high - low) * (i as f32 / 1e6));
        let small = (1..2000).map(|i| low.signum().max(0.0) * 1e-6 * 1.01f32.powi(i) / 100.0);
        spread
            .chain(small)
            .filter(|&x| x >= low && x <= high && truth(f64::from(x)) != 0.0)
            .map(|x| {
                let truth = truth(f64::from(x));
                ((f64::from(f(x)) - truth) / truth).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_exact_to_two_units() {
        let error = worst(exp, f64::exp, -87.0, 88.0);
        assert!(error < 2.0 * f64::from(f32::EPSILON) / 2.0 * 1.01, "{error:e}");
    }

    #[test]
    fn exp_m1_is_exact_to_three_units() {
        let error = worst(exp_m1, f64::exp_m1, 0.0, 88.0).max(worst(exp_m1, f64::exp_m1, 0.0, 1.0));
        assert!(error < 3.0 * f64::from(f32::EPSILON) / 2.0 * 1.01, "{error:e}");
    }

    #[test]
    fn edges() {
        assert_eq!((exp(0.0), exp_m1(0.0)), (1.0, 0.0));
        assert!(exp(f32::NAN).is_nan() && exp_m1(f32::NAN).is_nan());
        assert!(exp(f32::INFINITY).is_finite() && exp(f32::NEG_INFINITY) < 1e-37);
    }
}
