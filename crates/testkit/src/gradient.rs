//! Checks that a backward pass is the derivative of its forward pass.

use crate::Values;
use random::{Purpose, Stream};

/// Parameters of central differences.
#[derive(Clone, Copy, Debug)]
pub struct Differences {
    /// The half step: 1e-5 for functions computed in f64 throughout, 1e-2 for those in f32.
    pub step: f64,
    /// The largest accepted error, relative to the larger of an element's gradient and the root
    /// mean square of all gradients.
    pub tolerance: f64,
    /// The most elements that are tried, evenly spread.
    pub tries: usize,
}

impl Differences {
    /// For references in f64.
    pub const F64: Differences = Differences { step: 1e-5, tolerance: 1e-6, tries: 200 };

    /// For ops in f32, whose rounding errors are divided by the step.
    pub const F32: Differences = Differences { step: 1e-2, tolerance: 1e-2, tries: 60 };
}

/// Asserts that `backward(x, dy)` is the gradient of `sum(dy * forward(x))` for a random `dy`.
/// (With all ones, a backward pass that ignores `dy`, or whose outputs have a constant sum, would
/// pass.)
///
/// Where the difference over half of the step disagrees with that over the whole step there is a
/// kink, such as two inputs of a maximum changing places. Such elements are skipped, at most half
/// of them.
///
/// # Panics
/// If an element's gradient is wrong, or too many are kinks.
#[track_caller]
pub fn central_differences(
    x: &[f64],
    forward: impl Fn(&[f64]) -> Vec<f64>,
    backward: impl Fn(&[f64], &[f64]) -> Vec<f64>,
    Differences { step, tolerance, tries }: Differences,
) {
    let mut draws = Stream::new(0xD1FF, Purpose::Test, 0, 0);
    let dy: Vec<f64> = forward(x).iter().map(|_| f64::from(draws.normal())).collect();
    let gradient = backward(x, &dy);
    assert_eq!(gradient.len(), x.len(), "one gradient per input");
    let typical = norm(&gradient) / (x.len().max(1) as f64).sqrt();

    let slope = |idx: usize, step: f64| {
        let at = |x_idx: f64| {
            let mut moved = x.to_vec();
            moved[idx] = x_idx;
            dot(&forward(&moved), &dy)
        };
        (at(x[idx] + step) - at(x[idx] - step)) / (2.0 * step)
    };
    let every = x.len().div_ceil(tries).max(1);
    let (mut tried, mut kinks) = (0, 0);
    for idx in (0..x.len()).step_by(every) {
        let (wide, narrow) = (slope(idx, step), slope(idx, step / 2.0));
        let allowed = tolerance * narrow.abs().max(typical).max(1e-6);
        tried += 1;
        if (wide - narrow).abs() > allowed / 2.0 {
            kinks += 1;
            continue;
        }
        let error = (narrow - gradient[idx]).abs();
        assert!(
            error <= allowed,
            "the gradient of element {idx} is {} and should be {narrow}",
            gradient[idx]
        );
    }
    assert!(2 * kinks <= tried, "{kinks} of {tried} elements are at a kink");
}

/// Asserts that <y, dy> = <x, dx>, which holds for y = A x and dx = A' dy, with A' the adjoint of
/// A: the test of a linear map's backward pass at any size. `tolerance` is relative to the typical
/// size of such sums of random terms.
///
/// # Panics
/// If the assertion fails.
#[track_caller]
pub fn adjoint<V: Values + ?Sized>(x: &V, dx: &V, y: &V, dy: &V, tolerance: f64) {
    let (x, dx, y, dy) = (x.values(), dx.values(), y.values(), dy.values());
    assert!(x.len() == dx.len() && y.len() == dy.len(), "a gradient has its value's shape");
    let products = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
    let scale = norm(&products(&x, &dx)) + norm(&products(&y, &dy));
    let (of_x, of_y) = (dot(&x, &dx), dot(&y, &dy));
    assert!(
        (of_x - of_y).abs() <= tolerance * scale.max(f64::MIN_POSITIVE),
        "<x, dx> is {of_x} and <y, dy> is {of_y}"
    );
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 5] = [0.3, -1.2, 0.5, 2.0, -0.1];

    fn cubes(x: &[f64]) -> Vec<f64> {
        x.iter().map(|x| x * x * x).collect()
    }

    #[test]
    fn a_right_gradient_passes() {
        let backward = |x: &[f64], dy: &[f64]| {
            x.iter().zip(dy).map(|(x, dy)| 3.0 * x * x * dy).collect::<Vec<f64>>()
        };
        central_differences(&X, cubes, backward, Differences::F64);
    }

    #[test]
    #[should_panic(expected = "the gradient of element 0")]
    fn a_gradient_that_ignores_dy_fails() {
        let backward = |x: &[f64], _: &[f64]| x.iter().map(|x| 3.0 * x * x).collect::<Vec<f64>>();
        central_differences(&X, cubes, backward, Differences::F64);
    }

    #[test]
    #[should_panic(expected = "are at a kink")]
    fn nothing_but_kinks_fails() {
        let forward = |x: &[f64]| x.iter().map(|x| x.max(0.0)).collect::<Vec<f64>>();
        let x = [2e-6; 4];
        central_differences(&x, forward, |_, dy| dy.to_vec(), Differences::F64);
    }

    #[test]
    #[should_panic(expected = "<x, dx>")]
    fn a_wrong_adjoint_fails() {
        adjoint(&X, &X, &X, &[1.0; 5], 1e-6);
    }
}
