use super::*;
use ndarray::{Array1, Array2, array};
use proptest::prelude::*;
use testkit::gradient::{Differences, central_differences};
use testkit::{Expected, OpCase, Slots, cases, close, each_device, random_array, wide};

struct Case {
    x: Array2<f32>,
    a: Array1<f32>,
    dy: Array2<f32>,
}

impl Case {
    fn random(rows: usize, channels: usize, seed: u64) -> Case {
        let [x, dy] = [seed, !seed].map(|seed| random_array(seed, (rows, channels)));
        Case { x, a: random_array(seed ^ 1, channels), dy }
    }
}

/// y, dx and da.
impl OpCase<3> for Case {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 3] {
        let (rows, channels) = self.x.dim();
        let g = Geometry { rows, channels };
        let mut slots = Slots::new();
        let [x, dy] = [&self.x, &self.dy].map(|matrix| slots.array(matrix));
        let a = slots.array(&self.a);
        let [y, dx] = [0; 2].map(|_| slots.room([rows, channels]));
        let (da, scratch) = (slots.room([channels]), slots.room([g.scratch()]));
        slots.load(device);
        forward(device, &g, x, a, y).unwrap();
        backward_input(device, &g, x, a, dy, dx).unwrap();
        backward_slopes(device, &g, x, dy, da, scratch).unwrap();
        [y, dx, da].map(|slot| device.download(slot).unwrap())
    }

    fn expected(&self) -> [Expected; 3] {
        let (x, a, dy) = (wide(&self.x), wide(&self.a), wide(&self.dy));
        let y = reference::forward(&x, &a);
        let (dx, da) = reference::backward(&x, &a, &dy);
        let (y, dx) = (Expected::new("y", &y, 1e-6), Expected::new("dx", &dx, 1e-6));
        [y, dx, Expected::new("da", &da, 1e-6)]
    }
}

/// By hand; the second channel's slope is negative.
#[test]
fn known_answers() {
    let x = array![[1.0, 2.0], [-2.0, -4.0], [0.0, -1.0]];
    let dy = array![[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]];
    let case = Case { x, a: array![0.25, -0.5], dy };
    each_device(|device| {
        let [y, dx, da] = case.run_on(device);
        close(&y, &[1.0, 2.0, -0.5, 2.0, 0.0, 0.5], 0.0);
        close(&dx, &[10.0, 20.0, 7.5, -20.0, 12.5, -30.0], 0.0);
        close(&da, &[-60.0, -220.0], 0.0);
    });
}

#[test]
fn nan_stays() {
    let x = array![[f32::NAN, 1.0]];
    let case = Case { x, a: array![0.25, 0.25], dy: array![[1.0, 1.0]] };
    each_device(|device| {
        let [y, _, da] = case.run_on(device);
        assert!(y[0].is_nan() && da[0].is_nan() && (y[1], da[1]) == (1.0, 0.0));
    });
}

/// x and a in one vector, so that both gradients are checked.
#[test]
fn the_reference_is_the_derivative() {
    let (rows, channels) = (7, 3);
    let parts = |values: &[f64]| {
        let x = Array2::from_shape_vec((rows, channels), values[..rows * channels].to_vec());
        (x.unwrap(), Array1::from(values[rows * channels..].to_vec()))
    };
    let values: Array1<f32> = random_array(3, rows * channels + channels);
    central_differences(
        &wide(&values).to_vec(),
        |values| {
            let (x, a) = parts(values);
            reference::forward(&x, &a).iter().copied().collect()
        },
        |values, dy| {
            let (x, a) = parts(values);
            let dy = Array2::from_shape_vec(x.dim(), dy.to_vec()).unwrap();
            let (dx, da) = reference::backward(&x, &a, &dy);
            dx.iter().chain(&da).copied().collect()
        },
        Differences::F64,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 64)))]
    #[test]
    fn every_device_follows_the_reference(
        rows in 1usize..160, channels in 1usize..40, seed: u64,
    ) {
        Case::random(rows, channels, seed).check();
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    Case::random(5003, 37, 1).check_threads();
}

#[test]
#[should_panic(expected = "one slope per channel")]
fn sizes_must_agree() {
    let mut slots = Slots::new();
    let (x, a, y) = (slots.room([2, 3]), slots.room([2]), slots.room([2, 3]));
    let mut device = Device::cpu(1);
    slots.load(&mut device);
    forward(&mut device, &Geometry { rows: 2, channels: 3 }, x, a, y).unwrap();
}
