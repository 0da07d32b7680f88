//! Comparisons that report the worst element.

use ndarray::{Array, Dimension};

/// Anything with values in order.
pub trait Values {
    /// The values, as f64.
    fn values(&self) -> Vec<f64>;
}

impl<T: Copy + Into<f64>> Values for [T] {
    fn values(&self) -> Vec<f64> {
        self.iter().map(|&value| value.into()).collect()
    }
}

impl<T: Copy + Into<f64>> Values for Vec<T> {
    fn values(&self) -> Vec<f64> {
        self.as_slice().values()
    }
}

impl<T: Copy + Into<f64>, const N: usize> Values for [T; N] {
    fn values(&self) -> Vec<f64> {
        self.as_slice().values()
    }
}

impl<T: Copy + Into<f64>, D: Dimension> Values for Array<T, D> {
    fn values(&self) -> Vec<f64> {
        self.iter().map(|&value| value.into()).collect()
    }
}

/// [`close`] with a 1 added to both sides: for results whose terms are of the order of one, and may
/// cancel.
///
/// # Panics
/// As [`close`].
#[track_caller]
pub fn close_beside_one<A: Values + ?Sized, E: Values + ?Sized>(
    actual: &A,
    expected: &E,
    tolerance: f64,
) {
    let [mut actual, mut expected] = [actual.values(), expected.values()];
    actual.push(1.0);
    expected.push(1.0);
    close(&actual, &expected, tolerance);
}

/// Asserts that every `actual` is within `tolerance` of its `expected`, relative to the larger of
/// the element and the root mean square of all of them. NaN is close to NaN only.
///
/// # Panics
/// If a value differs more; the message has the first and the worst.
#[track_caller]
pub fn close<A: Values + ?Sized, E: Values + ?Sized>(actual: &A, expected: &E, tolerance: f64) {
    if let Some(difference) = difference(&actual.values(), &expected.values(), tolerance) {
        panic!("{difference}");
    }
}

/// Why `actual` is not [`close`] to `expected`.
#[track_caller]
pub(crate) fn difference(actual: &[f64], expected: &[f64], tolerance: f64) -> Option<String> {
    assert_eq!(actual.len(), expected.len(), "as many values as expected");
    let finite = || expected.iter().filter(|value| value.is_finite());
    let squares: f64 = finite().map(|value| value * value).sum();
    let typical = (squares / finite().count().max(1) as f64).sqrt();
    let mut far = Vec::new();
    for (idx, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = if a == e || (a.is_nan() && e.is_nan()) {
            0.0
        } else {
            (a - e).abs() / e.abs().max(typical).max(f64::MIN_POSITIVE)
        };
        // A NaN error counts as far.
        if !matches!(error.partial_cmp(&tolerance), Some(std::cmp::Ordering::Less))
            && error != tolerance
        {
            far.push((idx, error));
        }
    }
    let &(first, _) = far.first()?;
    let key = |error: f64| if error.is_nan() { f64::INFINITY } else { error };
    let &(worst, error) =
        far.iter().max_by(|a, b| key(a.1).total_cmp(&key(b.1))).expect("one is far");
    Some(format!(
        "{} of {} values are off by more than {tolerance:e}: first [{first}] is {} instead of {}, \
         worst [{worst}] is {} instead of {} (off by {error:.2e})",
        far.len(),
        actual.len(),
        actual[first],
        expected[first],
        actual[worst],
        expected[worst],
    ))
}

/// Asserts that two results are bit-identical, NaNs included.
///
/// # Panics
/// If they are not; the message has the first difference.
#[track_caller]
pub fn bits_equal(actual: &[f32], expected: &[f32], what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: as many values as expected");
    let differs = actual.iter().zip(expected).position(|(a, e)| a.to_bits() != e.to_bits());
    if let Some(idx) = differs {
        panic!("{what}: [{idx}] is {:?} instead of {:?}", actual[idx], expected[idx]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_close() {
        close(&[1.0f32, 2.0], &[1.0f64, 2.000001], 1e-5);
        close(&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY], 0.0);
        close(&[1e-9f32, 1.0], &[0.0f32, 1.0], 1e-8);
    }

    #[test]
    #[should_panic(expected = "first [1] is 2 instead of 3, worst [2] is NaN instead of 1")]
    fn far_is_named() {
        close(&[1.0f32, 2.0, f32::NAN], &[1.0f32, 3.0, 1.0], 1e-3);
    }

    #[test]
    #[should_panic(expected = "threads: [0] is -0.0 instead of 0.0")]
    fn zeros_of_different_sign_differ() {
        bits_equal(&[-0.0], &[0.0], "threads");
    }
}
