use super::*;
use ndarray::{Array1, Array2, array};
use proptest::prelude::*;
use testkit::gradient::{Differences, central_differences};
use testkit::{Expected, OpCase, Slots, cases, close, each_device, random_array, wide};

struct Case {
    epsilon: f32,
    x: Array2<f32>,
    dy: Array2<f32>,
    scale: Array1<f32>,
    shift: Array1<f32>,
}

impl Case {
    fn random(rows: usize, channels: usize, seed: u64) -> Case {
        let [x, dy] = [seed, !seed].map(|seed| random_array(seed, (rows, channels)));
        let [scale, shift] = [1, 2].map(|at| random_array(seed ^ at, channels));
        Case { epsilon: 1e-2, x: x * 3.0 + 2.0, dy, scale, shift }
    }
}

/// y, dx, and the gradients of scale and shift.
impl OpCase<4> for Case {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 4] {
        let (rows, channels) = self.x.dim();
        let g = Geometry { rows, channels, epsilon: self.epsilon };
        let mut slots = Slots::new();
        let [x, dy] = [&self.x, &self.dy].map(|matrix| slots.array(matrix));
        let [scale, shift] = [&self.scale, &self.shift].map(|vector| slots.array(vector));
        let [y, dx] = [0; 2].map(|_| slots.room([rows, channels]));
        let [d_scale, d_shift] = [0; 2].map(|_| slots.room([channels]));
        let scratch = slots.room([g.scratch()]);
        slots.load(device);
        forward(device, &g, x, scale, shift, y).unwrap();
        let work = Backward { x, dy, scale, dx: Some(dx), d_scale, d_shift };
        backward(device, &g, &work, scratch).unwrap();
        [y, dx, d_scale, d_shift].map(|slot| device.download(slot).unwrap())
    }

    fn expected(&self) -> [Expected; 4] {
        let [x, dy] = [&self.x, &self.dy].map(wide);
        let [scale, shift] = [&self.scale, &self.shift].map(wide);
        let epsilon = f64::from(self.epsilon);
        let y = reference::forward(epsilon, &x, &scale, &shift);
        let (dx, d_scale, d_shift) = reference::backward(epsilon, &x, &scale, &dy);
        [
            Expected::new("y", &y, 1e-5),
            // With two channels everything cancels.
            Expected::beside_one("dx", &dx, 1e-4),
            Expected::new("the scale's gradient", &d_scale, 1e-5),
            Expected::new("the shift's gradient", &d_shift, 1e-6),
        ]
    }
}

/// By hand: 1, 3 has mean 2 and deviation 1; 7, 7 has deviation 0.
#[test]
fn known_answers() {
    let case = Case {
        epsilon: 1e-12,
        x: array![[1.0, 3.0], [7.0, 7.0]],
        dy: array![[1.0, 2.0], [0.0, 0.0]],
        scale: array![2.0, 3.0],
        shift: array![10.0, 20.0],
    };
    each_device(|device| {
        let [y, dx, scale, shift] = case.run_on(device);
        close(&y, &[8.0, 23.0, 10.0, 20.0], 1e-6);
        close(&dx, &[0.0; 4], 1e-6); // mean and deviation determine two inputs
        close(&scale, &[-1.0, 2.0], 1e-6);
        close(&shift, &[1.0, 2.0], 1e-6);
    });
}

#[test]
fn nan_stays_in_its_row() {
    let mut case = Case::random(3, 40, 1);
    case.x[(1, 39)] = f32::NAN;
    each_device(|device| {
        let [y, dx, ..] = case.run_on(device);
        for (row, (y, dx)) in y.chunks(40).zip(dx.chunks(40)).enumerate() {
            assert!(y.iter().chain(dx).all(|value| value.is_nan() == (row == 1)), "{row}");
        }
    });
}

/// x, scale and shift in one vector, so that all gradients are checked.
#[test]
fn the_reference_is_the_derivative() {
    let (rows, channels) = (4, 5);
    let parts = |values: &[f64]| {
        let (x, rest) = values.split_at(rows * channels);
        let (scale, shift) = rest.split_at(channels);
        let x = Array2::from_shape_vec((rows, channels), x.to_vec()).unwrap();
        (x, Array1::from(scale.to_vec()), Array1::from(shift.to_vec()))
    };
    let values: Array1<f32> = random_array(3, rows * channels + 2 * channels);
    central_differences(
        &wide(&values).to_vec(),
        |values| {
            let (x, scale, shift) = parts(values);
            reference::forward(0.01, &x, &scale, &shift).iter().copied().collect()
        },
        |values, dy| {
            let (x, scale, _) = parts(values);
            let dy = Array2::from_shape_vec(x.dim(), dy.to_vec()).unwrap();
            let (dx, d_scale, d_shift) = reference::backward(0.01, &x, &scale, &dy);
            dx.iter().chain(&d_scale).chain(&d_shift).copied().collect()
        },
        Differences::F64,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 64)))]
    #[test]
    fn every_device_follows_the_reference(
        rows in 1usize..150, channels in 2usize..70, seed: u64,
    ) {
        Case::random(rows, channels, seed).check();
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    Case::random(5003, 37, 5).check_threads();
}
