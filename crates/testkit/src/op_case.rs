//! One description of a test case of an op, for every device.

use crate::compare::{Values, difference};
use crate::{each_device, each_gpu, same_bits_for_threads, same_bits_on_gpus};
use tensor::Device;

/// A test case of an op: its sizes and inputs, its `N` results on a device, and those of the
/// reference.
pub trait OpCase<const N: usize> {
    /// The results on a device. Slots for results start as NaN.
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; N];

    /// What the results must be close to, from the reference.
    fn expected(&self) -> [Expected; N];

    /// Compares every device with the reference: the CPU, the GPU or its stand-in.
    ///
    /// # Panics
    /// If a result differs; and as [`each_device`].
    #[track_caller]
    fn check(&self) {
        let expected = self.expected();
        each_device(|device| compare(&self.run_on(device), &expected));
    }

    /// [`check`](Self::check) without the CPU.
    ///
    /// # Panics
    /// As `check`.
    #[track_caller]
    fn check_on_gpus(&self) {
        let expected = self.expected();
        each_gpu(|device| compare(&self.run_on(device), &expected));
    }

    /// [`check_on_gpus`](Self::check_on_gpus), and that results are bit-identical for any order of
    /// blocks and threads.
    ///
    /// # Panics
    /// As `check`.
    #[track_caller]
    fn check_orders_on_gpus(&self) {
        let expected = self.expected();
        same_bits_on_gpus(|device| {
            let results = self.run_on(device);
            compare(&results, &expected);
            results.concat()
        });
    }

    /// Asserts that results are bit-identical for any number of threads of the CPU.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    fn check_threads(&self) {
        same_bits_for_threads(|threads| self.run_on(&mut Device::cpu(threads)).concat());
    }
}

/// Compares results with what is expected.
///
/// # Panics
/// If one differs; the message has its name.
#[track_caller]
pub fn compare<const N: usize>(results: &[Vec<f32>; N], expected: &[Expected; N]) {
    for (result, expected) in results.iter().zip(expected) {
        expected.compare(result);
    }
}

/// The expected values of one result.
#[derive(Clone, Debug)]
pub struct Expected {
    name: &'static str,
    values: Vec<f64>,
    tolerance: f64,
    /// As in [`close_beside_one`](crate::close_beside_one).
    beside_one: bool,
}

impl Expected {
    /// Values that a result must be [`close`](crate::close) to.
    pub fn new(name: &'static str, values: &(impl Values + ?Sized), tolerance: f64) -> Expected {
        Expected { name, values: values.values(), tolerance, beside_one: false }
    }

    /// [`new`](Self::new), compared as by [`close_beside_one`](crate::close_beside_one).
    pub fn beside_one(
        name: &'static str,
        values: &(impl Values + ?Sized),
        tolerance: f64,
    ) -> Expected {
        Expected { beside_one: true, ..Expected::new(name, values, tolerance) }
    }

    /// The expected values.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    #[track_caller]
    fn compare(&self, actual: &[f32]) {
        let (mut actual, mut expected) = (actual.values(), self.values.clone());
        if self.beside_one {
            actual.push(1.0);
            expected.push(1.0);
        }
        if let Some(difference) = difference(&actual, &expected, self.tolerance) {
            panic!("{}: {difference}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles its inputs.
    struct Doubling {
        x: f32,
        wrong: f64,
    }

    impl OpCase<1> for Doubling {
        fn run_on(&self, _: &mut Device) -> [Vec<f32>; 1] {
            [vec![self.x, 2.0 * self.x]]
        }

        fn expected(&self) -> [Expected; 1] {
            [Expected::new("y", &[f64::from(self.x), self.wrong], 1e-6)]
        }
    }

    #[test]
    fn right_results_pass() {
        let case = Doubling { x: 3.0, wrong: 6.0 };
        case.check();
        case.check_orders_on_gpus();
        case.check_threads();
    }

    #[test]
    #[should_panic(expected = "y: 1 of 2 values are off by more than 1e-6: first [1] is 6")]
    fn a_wrong_result_is_named() {
        Doubling { x: 3.0, wrong: 6.1 }.check();
    }

    #[test]
    fn beside_one_allows_errors_of_sums_that_cancel() {
        Expected::beside_one("y", &[0.0], 1e-5).compare(&[1e-6]);
    }

    #[test]
    #[should_panic(expected = "y: 1 of 2 values")]
    fn beside_one_still_fails() {
        Expected::beside_one("y", &[0.0], 1e-5).compare(&[1e-4]);
    }
}
