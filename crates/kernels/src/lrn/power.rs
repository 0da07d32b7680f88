//! s^-beta and s^-1, for the common beta without a call.

/// A beta, known where loops are compiled.
pub(super) trait Power: Copy + Sync + Send {
    /// (s^-beta, s^-1) for s > 0.
    fn of(self, s: f32) -> (f32, f32);
}

/// beta = 0.75, the paper's.
#[derive(Clone, Copy)]
pub(super) struct ThreeQuarters;

/// beta = 0.5.
#[derive(Clone, Copy)]
pub(super) struct Half;

/// beta = 1.
#[derive(Clone, Copy)]
pub(super) struct One;

/// Any other beta: the system's powf, one element at a time.
#[derive(Clone, Copy)]
pub(super) struct Any(pub(super) f32);

impl Power for ThreeQuarters {
    #[inline(always)]
    fn of(self, s: f32) -> (f32, f32) {
        let root = inverse_fourth_root(s);
        let square = root * root;
        (square * root, square * square)
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

/// s^(-1/4) to 2 units in the last place, for normal s > 0, by sums and products alone: two square
/// roots and a division take a vector unit three times as long.
///
/// The first guess halves and halves again the exponent, and the mantissa with it; then
/// r <- r (1 + e/4 + 5 e^2/32 + 15 e^3/128) with e = 1 - s r^4, the series of (1 - e)^(-1/4).
#[inline(always)]
pub(super) fn inverse_fourth_root(s: f32) -> f32 {
    // 1.25 times the exponent's bias, less what makes the guess's largest errors equal.
    const GUESS: u32 = 0x4F58_1800;
    let mut root = f32::from_bits(GUESS.wrapping_sub(s.to_bits() >> 2));
    for _ in 0..2 {
        let square = root * root;
        let e = 1.0 - (s * square) * square;
        let series = ((15.0 / 128.0 * e + 5.0 / 32.0) * e + 0.25) * e;
        root += root * series;
    }
    root
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
        // Every mantissa pattern of note, over all magnitudes.
        for i in 0..2_000_000 {
            let s = f32::from_bits(0x0100_0000 + i * 1040);
            assert!(error(inverse_fourth_root(s), s, -0.25) < 2.5, "{s}^-1/4");
            let [(a, a1), (b, b1), (c, c1)] = [ThreeQuarters.of(s), Half.of(s), One.of(s)];
            assert!(error(a, s, -0.75) < 8.0 && error(b, s, -0.5) < 2.0, "{s}");
            if s < 8e37 {
                // The inverse of a greater s is no longer a normal number.
                assert!(error(a1, s, -1.0) < 12.0 && error(b1, s, -1.0) < 2.0, "{s}^-1");
                assert!(error(c, s, -1.0) < 2.0 && error(c1, s, -1.0) < 2.0, "{s}^-1");
            }
        }
    }

    #[test]
    fn nan_stays() {
        assert!(inverse_fourth_root(f32::NAN).is_nan());
    }
}
