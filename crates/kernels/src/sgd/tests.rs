use super::*;
use crate::segments::odd_segments;
use ndarray::{Array1, s};
use proptest::prelude::*;
use testkit::{
    Slots, bits_equal, cases, close, each_device, each_gpu, random_array, same_bits_for_threads,
};

const RULES: [Rule; 4] = [Rule::Paper, Rule::PaperNesterov, Rule::Pytorch, Rule::PytorchNesterov];

/// w and v after one step by the paper's rule.
fn run(
    device: &mut Device,
    segments: &[Segment],
    table: &[[f32; 3]],
    blocks: [&Array1<f32>; 3],
) -> [Vec<f32>; 2] {
    run_by(device, Rule::Paper, segments, table, blocks)
}

/// w and v after one step.
fn run_by(
    device: &mut Device,
    rule: Rule,
    segments: &[Segment],
    table: &[[f32; 3]],
    [dw, w, v]: [&Array1<f32>; 3],
) -> [Vec<f32>; 2] {
    let mut slots = Slots::new();
    let table = slots.floats([3 * table.len()], table.concat());
    let [dw, w, v] = [dw, w, v].map(|block| slots.array(block));
    slots.load(device);
    step_by(device, rule, segments, table, dw, w, v).unwrap();
    [w, v].map(|slot| device.download(slot).unwrap())
}

/// By hand: v = 0.9 * 2 - 0.1 (3 + 0.5 * 4) = 1.3; w = 4 + 1.3.
#[test]
fn known_answer() {
    let one = |value: f32| Array1::from_elem(1, value);
    each_device(|device| {
        let segments = [Segment { start: 0, len: 1 }];
        let blocks = [&one(3.0), &one(4.0), &one(2.0)];
        let [w, v] = run(device, &segments, &[[0.1, 0.9, 0.5]], blocks);
        close(&v, &[1.3], 1e-6);
        close(&w, &[5.3], 1e-6);
    });
}

/// By hand: g = 3 + 0.5 * 4 = 5. The paper's velocity is 0.9 * 2 - 0.1 * 5 = 1.3; with Nesterov's
/// momentum w = 4 + 0.9 * 1.3 - 0.5. PyTorch's velocity is 0.9 * 2 + 5 = 6.8; w = 4 - 0.68; with
/// Nesterov's momentum w = 4 - 0.1 (5 + 0.9 * 6.8).
#[test]
fn known_answers_of_other_rules() {
    let one = |value: f32| Array1::from_elem(1, value);
    let expected = [(5.3, 1.3), (4.67, 1.3), (3.32, 6.8), (2.888, 6.8)];
    each_device(|device| {
        for (rule, (new_w, new_v)) in RULES.into_iter().zip(expected) {
            let segments = [Segment { start: 0, len: 1 }];
            let blocks = [&one(3.0), &one(4.0), &one(2.0)];
            let [w, v] = run_by(device, rule, &segments, &[[0.1, 0.9, 0.5]], blocks);
            close(&w, &[new_w], 1e-6);
            close(&v, &[new_v], 1e-6);
        }
    });
}

/// Ten steps of four weights by `torch.optim.SGD` 2.15 in f64: rate 0.05, halved after five steps,
/// momentum 0.9, weight_decay 0.1, without and with nesterov. Step t's gradient of weight i is
/// sin(t + i).
#[test]
fn ten_steps_match_pytorch() {
    const EXPECTED: [[f64; 4]; 2] = [
        [0.151_769_541_503, -1.114_050_397_909, 1.986_635_799_839, 0.300_068_150_380],
        [0.140_056_309_445, -1.048_409_431_379, 1.988_131_679_331, 0.307_930_096_975],
    ];
    each_device(|device| {
        for (rule, expected) in [Rule::Pytorch, Rule::PytorchNesterov].into_iter().zip(EXPECTED) {
            let mut w = Array1::from(vec![0.5, -1.25, 2.0, 0.0]);
            let mut v = Array1::zeros(4);
            for t in 1..=10 {
                let dw = Array1::from_shape_fn(4, |i| f64::from(t + i as i32).sin() as f32);
                let rate = if t > 5 { 0.025 } else { 0.05 };
                let segments = [Segment { start: 0, len: 4 }];
                let after = run_by(device, rule, &segments, &[[rate, 0.9, 0.1]], [&dw, &w, &v]);
                [w, v] = after.map(Array1::from);
            }
            close(&w, &expected, 1e-6);
        }
    });
}

#[test]
fn a_frozen_parameter_keeps_its_velocity() {
    let [dw, w, v] = [1, 2, 3].map(|seed| random_array(seed, 8));
    each_device(|device| {
        RULES.iter().for_each(|&rule| {
            let segments = [Segment { start: 0, len: 4 }, Segment { start: 4, len: 4 }];
            let table = [[0.0, 0.9, 0.1], [0.1, 0.9, 0.1]];
            let [new_w, new_v] = run_by(device, rule, &segments, &table, [&dw, &w, &v]);
            assert_eq!((&new_w[..4], &new_v[..4]), (&w.to_vec()[..4], &v.to_vec()[..4]));
            assert!(new_w[4..].iter().zip(w.iter().skip(4)).all(|(new, old)| new != old));
        })
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64, 256)))]

    #[test]
    fn equals_the_reference(
        lens in prop::collection::vec((1usize..70, 0usize..5), 1..5),
        seed in 0u64..100,
        rule in prop::sample::select(RULES.to_vec()),
    ) {
        let mut end = 0;
        let segments: Vec<Segment> = lens
            .iter()
            .map(|&(len, gap)| {
                let start = end + gap;
                end = start + len;
                Segment { start, len }
            })
            .collect();
        let [dw, w, v] = [0, 1, 2].map(|i| random_array(seed + i, end));
        let rules: Array1<f32> = random_array(seed + 3, 3 * segments.len());
        let table: Vec<[f32; 3]> =
            rules.to_vec().chunks(3).map(|row| [row[0].abs(), row[1], row[2]]).collect();
        let (mut expected_w, mut expected_v) = (w.clone(), v.clone());
        for (segment, &row) in segments.iter().zip(&table) {
            let range = s![segment.start..segment.start + segment.len];
            let dw = dw.slice(range).to_vec();
            reference::step(rule, row, &dw, expected_w.slice_mut(range), expected_v.slice_mut(range));
        }
        each_device(|device| {
            let [new_w, new_v] = run_by(device, rule, &segments, &table, [&dw, &w, &v]);
            // Five roundings of values of the order of ten.
            close(&new_w, &expected_w, 1e-5);
            close(&new_v, &expected_v, 1e-5);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let [dw, w, v] = [1, 2, 3].map(|seed| random_array(seed, 200_000));
    same_bits_for_threads(|threads| {
        let segments = [Segment { start: 3, len: 199_990 }];
        let mut device = Device::cpu(threads);
        let run = |rule| {
            run_by(&mut device, rule, &segments, &[[0.1, 0.9, 0.01]], [&dw, &w, &v]).concat()
        };
        RULES.map(run).concat()
    });
}

#[test]
fn nan_propagates() {
    let [dw, w] = [1, 2].map(|seed| random_array(seed, 2));
    let v = Array1::from_elem(2, f32::NAN);
    each_device(|device| {
        let segments = [Segment { start: 0, len: 2 }];
        let [w, _] = run(device, &segments, &[[0.1, 0.9, 0.0]], [&dw, &w, &v]);
        assert!(w.iter().all(|w| w.is_nan()));
    });
}

/// A velocity without gradients decays to zero; without flushing, rounding would keep it at the
/// smallest denormal number for ever.
#[test]
fn a_decaying_velocity_becomes_zero() {
    let one = |value: f32| Array1::from_elem(1, value);
    each_device(|device| {
        let segments = [Segment { start: 0, len: 1 }];
        for sign in [1.0, -1.0] {
            let blocks = [&one(0.0), &one(1.0), &one(sign * f32::MIN_POSITIVE)];
            let [w, v] = run(device, &segments, &[[0.1, 0.9, 0.0]], blocks);
            assert_eq!((w[0], v[0].to_bits()), (1.0, (0.0 * sign).to_bits()));
        }
    });
}

/// One launch for all segments is bit-identical to a launch for each.
#[test]
fn segments_of_a_launch_are_independent() {
    let (segments, len) = odd_segments();
    let [dw, w, v] = [1, 2, 3].map(|seed| random_array(seed, len));
    let rates = |idx: usize| [if idx % 5 == 4 { 0.0 } else { 0.1 + idx as f32 / 100.0 }, 0.9, 0.01];
    let table: Vec<[f32; 3]> = (0..segments.len()).map(rates).collect();
    each_gpu(|device| {
        for rule in RULES {
            let [new_w, new_v] = run_by(device, rule, &segments, &table, [&dw, &w, &v]);
            let (mut next_w, mut next_v) = (w.clone(), v.clone());
            for (&segment, &row) in segments.iter().zip(&table) {
                let blocks = [&dw, &next_w, &next_v];
                let after = run_by(device, rule, &[segment], &[row], blocks);
                [next_w, next_v] = after.map(Array1::from);
            }
            bits_equal(&new_w, &next_w.to_vec(), "w");
            bits_equal(&new_v, &next_v.to_vec(), "v");
            assert_ne!(new_w, w.to_vec());
        }
    });
}
