use super::*;
use ndarray::Array1;
use proptest::prelude::*;
use testkit::{Slots, close, each_device, random_array, same_bits_for_threads};

fn run(device: &mut Device, factor: f32, x: &Array1<f32>, y: &Array1<f32>) -> Vec<f32> {
    let mut slots = Slots::new();
    let factor = slots.floats([1], vec![factor]);
    let [x, y] = [x, y].map(|block| slots.array(block));
    slots.load(device);
    step(device, factor, x, y).unwrap();
    device.download(y).unwrap()
}

/// By hand.
#[test]
fn known_answers() {
    let (x, y) = (Array1::from(vec![4.0, -2.0]), Array1::from(vec![0.0, 6.0]));
    each_device(|device| {
        assert_eq!(run(device, 0.25, &x, &y), [1.0, 4.0]);
        assert_eq!(run(device, 0.75, &x, &y), [3.0, 0.0]);
        assert_eq!(run(device, 0.0, &x, &y), y.to_vec());
    });
}

/// Five updates by `torch.optim.swa_utils.AveragedModel` 2.15 with `get_ema_multi_avg_fn(0.9)` and
/// `use_buffers` in f64, of weights sin(t), cos(t) and running means sin(2t), cos(2t). The first
/// update copies.
#[test]
fn five_updates_match_pytorch() {
    let expected = [0.465_802_941_552, 0.213_504_121_533, 0.553_426_600_981, -0.339_912_926_289];
    each_device(|device| {
        let mut y = Array1::zeros(4);
        for t in 1..=5 {
            let t = f64::from(t);
            let x = [t.sin(), t.cos(), (2.0 * t).sin(), (2.0 * t).cos()].map(|x| x as f32);
            let factor = if t == 1.0 { 1.0 } else { (1.0f64 - 0.9) as f32 };
            y = Array1::from(run(device, factor, &Array1::from(x.to_vec()), &y));
        }
        close(&y, &expected, 1e-6);
    });
}

#[test]
fn a_factor_of_one_copies() {
    let [x, y] = [1, 2].map(|seed| random_array(seed, 1001));
    each_device(|device| assert_eq!(run(device, 1.0, &x, &y), x.to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn equals_the_reference(len in 1usize..300, factor in 0f32..=1.0, seed in 0u64..100) {
        let [x, y]: [Array1<f32>; 2] = [0, 1].map(|i| random_array(seed + i, len));
        let mut expected = y.to_vec();
        reference::step(factor, &x.to_vec(), &mut expected);
        each_device(|device| close(&run(device, factor, &x, &y), &expected, 1e-6));
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let [x, y] = [1, 2].map(|seed| random_array(seed, 200_000));
    same_bits_for_threads(|threads| run(&mut Device::cpu(threads), 0.001, &x, &y));
}

#[test]
fn nan_propagates() {
    let (x, y) = (Array1::from(vec![f32::NAN]), Array1::from(vec![1.0]));
    each_device(|device| assert!(run(device, 0.1, &x, &y)[0].is_nan()));
}
