use super::*;
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;
use testkit::gradient::{Differences, central_differences};
use testkit::{
    Slots, close, close_beside_one, each_device, random_array, same_bits_for_threads, wide,
};

const KINDS: [Activation; 6] = [
    Activation::Relu,
    Activation::Tanh { outer: 1.0, inner: 1.0 },
    Activation::Tanh { outer: 1.7159, inner: 0.6667 },
    Activation::Logistic,
    Activation::LeakyRelu { slope: 0.01 },
    Activation::Gelu,
];

fn run(device: &mut Device, kind: Activation, x: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
    let mut slots = Slots::new();
    let x_slot = slots.floats([x.len()], x.to_vec());
    let [dy_slot, masked] = [0; 2].map(|_| slots.floats([dy.len()], dy.to_vec()));
    let [y, dx] = [0; 2].map(|_| slots.room([x.len()]));
    slots.load(device);
    forward(device, kind, x_slot, y).unwrap();
    let saved = if kind.reads_input() { x_slot } else { y };
    backward(device, kind, saved, dy_slot, dx).unwrap();
    mask_by_relu(device, y, masked).unwrap();
    [y, dx, masked].map(|slot| device.download(slot).unwrap())
}

#[test]
fn known_answers() {
    let x = [-2.0, -0.0, 0.0, 3.0, f32::NAN];
    each_device(|device| {
        let [y, dx, masked] = run(device, Activation::Relu, &x, &[1.0, 2.0, 3.0, 4.0, 5.0]);
        close(&y, &[0.0, 0.0, 0.0, 3.0, f32::NAN], 0.0);
        close(&dx[..4], &[0.0, 0.0, 0.0, 4.0][..], 0.0);
        assert_eq!(dx[..4], masked[..4]);
        // tanh(1) and 1 / (1 + e^-1), to ten places.
        let tanh = Activation::Tanh { outer: 2.0, inner: 0.5 };
        close(&run(device, tanh, &[2.0], &[1.0])[0], &[2.0 * 0.761_594_156], 1e-7);
        close(&run(device, Activation::Logistic, &[1.0], &[1.0])[0], &[0.731_058_578_6], 1e-7);
        let [y, dx, _] = run(device, Activation::LeakyRelu { slope: 0.25 }, &x, &[4.0; 5]);
        close(&y, &[-0.5, 0.0, 0.0, 3.0, f32::NAN], 0.0);
        close(&dx[..4], &[1.0, 1.0, 1.0, 4.0][..], 0.0);
    });
}

/// F(1) = 0.841344746, F(2) = 0.977249868 and f(1) = 0.241970725, from tables of the normal
/// distribution; the approximation with tanh differs at 2 from the fourth digit on.
#[test]
fn gelu_is_exact() {
    each_device(|device| {
        let [y, dx, _] = run(device, Activation::Gelu, &[1.0, 2.0, -1.0, 0.0], &[1.0; 4]);
        let expected = [0.841_344_746, 2.0 * 0.977_249_868, -0.158_655_254, 0.0];
        close(&y, &expected, 3e-7);
        let slopes = [0.841_344_746 + 0.241_970_725, 0.158_655_254 - 0.241_970_725, 0.5];
        close(&[dx[0], dx[2], dx[3]], &slopes, 3e-7);
    });
}

#[test]
fn large_inputs_saturate_and_nan_stays() {
    let x = [-f32::INFINITY, -1e30, -100.0, 100.0, 1e30, f32::INFINITY, f32::NAN];
    each_device(|device| {
        let [y, dx, _] = run(device, KINDS[1], &x, &[1.0; 7]);
        assert_eq!(y[..6], [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
        assert!(y[6].is_nan() && dx[6].is_nan());
        let [y, dx, _] = run(device, Activation::Logistic, &x, &[1.0; 7]);
        assert!(y[..3].iter().all(|&y| (0.0..1e-37).contains(&y)) && y[3..6] == [1.0; 3], "{y:?}");
        assert!(y[6].is_nan() && dx[6].is_nan());
        let [y, dx, _] = run(device, Activation::Gelu, &x, &[1.0; 7]);
        assert!(y[..3].iter().all(|y| (-1e-35..=0.0).contains(y)) && y[3..6] == x[3..6], "{y:?}");
        assert!(dx[..3].iter().all(|dx| dx.abs() < 1e-34) && dx[3..6] == [1.0; 3], "{dx:?}");
        assert!(y[6].is_nan() && dx[6].is_nan());
    });
}

#[test]
fn gelu_has_the_documented_accuracy() {
    let x: Vec<f32> = (0..400_000).map(|i| (i as f32 - 2e5) * 1e-4).collect();
    let [y, dx, _] = run(&mut Device::cpu(2), Activation::Gelu, &x, &vec![1.0; x.len()]);
    for ((&x, y), dx) in x.iter().zip(y).zip(dx) {
        let x = f64::from(x);
        let truth = x * reference::normal(x);
        assert!((f64::from(y) - truth).abs() < 3e-7 * truth.abs().max(1.0), "gelu({x}) = {y}");
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let slope = reference::normal(x) + x * density;
        assert!((f64::from(dx) - slope).abs() < 5e-7, "gelu'({x}) = {dx}");
    }
}

/// 5 units in the last place are 3e-7, for every magnitude, including tiny ones.
#[test]
fn tanh_and_logistic_are_exact_to_a_few_units() {
    let x: Vec<f32> = (0..400_000)
        .map(|i| (i as f32 - 2e5) * 1e-4)
        .chain((0..2000).map(|i| 1e-20 * 1.03f32.powi(i)))
        .collect();
    let mut device = Device::cpu(2);
    let [tanh, logistic] =
        [KINDS[1], Activation::Logistic].map(|kind| run(&mut device, kind, &x, &x)[0].clone());
    for ((&x, tanh), logistic) in x.iter().zip(tanh).zip(logistic) {
        let error = |y: f32, truth: f64| (f64::from(y) - truth).abs() / truth.abs().max(1e-40);
        let x64 = f64::from(x);
        assert!(error(tanh, x64.tanh()) < 3e-7, "tanh({x}) = {tanh}");
        assert!(error(logistic, 1.0 / (1.0 + (-x64).exp())) < 3e-7, "logistic({x}) = {logistic}");
    }
}

#[test]
fn references_are_derivatives() {
    let x: Vec<f64> = random_array(3, 50).iter().map(|&x| f64::from(x)).collect();
    let array = |values: &[f64]| ArrayD::from_shape_vec(IxDyn(&[values.len()]), values.to_vec());
    for kind in KINDS {
        central_differences(
            &x,
            |x| reference::forward(kind, &array(x).unwrap()).to_vec(),
            |x, dy| {
                let x = array(x).unwrap();
                reference::backward(kind, &saved(kind, &x), &array(dy).unwrap()).to_vec()
            },
            Differences::F64,
        );
    }
}

fn saved(kind: Activation, x: &ArrayD<f64>) -> ArrayD<f64> {
    if kind.reads_input() { x.clone() } else { reference::forward(kind, x) }
}

trait ToVec {
    fn to_vec(&self) -> Vec<f64>;
}

impl ToVec for ArrayD<f64> {
    fn to_vec(&self) -> Vec<f64> {
        self.iter().copied().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_device_follows_the_reference(len in 1usize..300, seed: u64, kind in 0usize..6) {
        let kind = KINDS[kind];
        let [x, dy] = [seed, !seed].map(|seed| random_array(seed, IxDyn(&[len])));
        let array = |values| wide(&ArrayD::from_shape_vec(IxDyn(&[len]), values).unwrap());
        each_device(|device| {
            let [y, dx, _] = run(device, kind, x.as_slice().unwrap(), dy.as_slice().unwrap());
            let [x, dy, y, dx] = [wide(&x), wide(&dy), array(y), array(dx)];
            close(&y, &reference::forward(kind, &x), 1e-6);
            // The gradient is computed from the device's own y: where f is flat, f' from y
            // magnifies y's rounding. There f' is small, so errors are compared to 1.
            let saved = if kind.reads_input() { &x } else { &y };
            let expected = reference::backward(kind, saved, &dy);
            close_beside_one(&(dx / &dy), &(expected / &dy), 1e-6);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let [x, dy] = [1, 2].map(|seed| random_array(seed, 100_003).to_vec());
    for kind in KINDS {
        same_bits_for_threads(|threads| run(&mut Device::cpu(threads), kind, &x, &dy).concat());
    }
}

#[test]
#[should_panic(expected = "differ in size")]
fn sizes_must_agree() {
    let mut slots = Slots::new();
    let [x, y] = [2, 3].map(|len| slots.room([len]));
    let mut device = Device::cpu(1);
    slots.load(&mut device);
    forward(&mut device, Activation::Relu, x, y).unwrap();
}
