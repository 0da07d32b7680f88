//! s^-beta and s^-1, without a library call for the common values of beta.
//!
//! Bound by latency: a chain of some twenty sums and products, half of which depend on each other;
//! the chains of several vectors overlap.

/// An exponent beta, known when loops are compiled.
pub(crate) trait Power: Copy + Sync + Send {
    /// (s^-beta, s^-1) for s > 0.
    fn of(self, s: f32) -> (f32, f32);
}

/// beta = 0.75, the paper's.
#[derive(Clone, Copy)]
pub(crate) struct ThreeQuarters;

/// beta = 0.5.
#[derive(Clone, Copy)]
pub(crate) struct Half;

/// beta = 1.
#[derive(Clone, Copy)]
pub(crate) struct One;

/// Any other beta: the system's powf, one element at a time.
#[derive(Clone, Copy)]
pub(crate) struct Any(pub(crate) f32);

impl Power for ThreeQuarters {
    #[inline(always)]
    fn of(self, s: f32) -> (f32, f32) {
        // Only sums and products: faster than two square roots and a division, which vector units
        // compute a few lanes at a time, and also bit-identical on every processor.
        // The bits of a float approximate its logarithm; a quarter of it, negated, gives
        // q = s^-1/4 within 4 %.
        let q = f32::from_bits(0x4f58_4000 - (s.to_bits() >> 2));
        // s^-1/4 = q (1 - r)^-1/4 where r = 1 - s q^4, by two terms fitted to |r| < 0.128: 6e-5.
        let square = q * q;
        let r = 1.0 - s * (square * square);
        let q = q + q * (r * (0.251_361_8 + 0.156_768_1 * r));
        // One Newton step for s^-3/4 and one for s^-1 give an error of 4e-8. For infinite s, r is
        // infinite too and both powers are NaN, so that overflow shows.
        let square = q * q;
        let (scale, inverse) = (q * square, square * square);
        let r = 1.0 - s * inverse;
        (scale + scale * (0.75 * r), inverse + inverse * r)
    }
}

impl Power for Half {
    #[inline(always)]
    fn of(self, s: f32) -> (f32, f32) {
        let inverse = 1.0 / s;
        (inverse.sqrt(), inverse)
    }
}

impl Power for One {
    #[inline(always)]
    fn of(self, s: f32) -> (f32, f32) {
        (1.0 / s, 1.0 / s)
    }
}

impl Power for Any {
    #[inline(always)]
    fn of(self, s: f32) -> (f32, f32) {
        (s.powf(-self.0), 1.0 / s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_exact_to_a_few_units() {
        let error = |value: f32, s: f32, exponent: f64| {
            let truth = f64::from(s).powf(exponent);
            ((f64::from(value) - truth) / truth).abs() / (f64::from(f32::EPSILON) / 2.0)
        };
        // A dense sample of mantissas, over all magnitudes.
        for i in 0..2_000_000 {
            let s = f32::from_bits(0x0100_0000 + i * 1040);
            let [(a, a1), (b, b1), (c, c1)] = [ThreeQuarters.of(s), Half.of(s), One.of(s)];
            assert!(error(a, s, -0.75) < 5.0 && error(b, s, -0.5) < 2.0, "{s}");
            if s < 8e37 {
                // The inverse of a greater s is no longer a normal number.
                assert!(error(a1, s, -1.0) < 4.0 && error(b1, s, -1.0) < 2.0, "{s}^-1");
                assert!(error(c, s, -1.0) < 2.0 && error(c1, s, -1.0) < 2.0, "{s}^-1");
            }
        }
    }

    #[test]
    fn nan_stays() {
        assert!(ThreeQuarters.of(f32::NAN).0.is_nan());
    }
}
