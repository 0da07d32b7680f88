use super::*;
use crate::segments::odd_segments;
use ndarray::{Array1, s};
use proptest::prelude::*;
use testkit::{
    Slots, bits_equal, close, each_device, each_gpu, random_array, same_bits_for_threads, wide,
};

/// w, m and s after step number `t` of Adam.
fn run(
    device: &mut Device,
    segments: &[Segment],
    table: &[[f32; 3]],
    t: u64,
    blocks: [&Array1<f32>; 4],
) -> [Vec<f32>; 3] {
    run_by(device, false, segments, table, t, blocks)
}

/// w, m and s after step number `t`; `decoupled` is AdamW.
fn run_by(
    device: &mut Device,
    decoupled: bool,
    segments: &[Segment],
    table: &[[f32; 3]],
    t: u64,
    [dw, w, m, s]: [&Array1<f32>; 4],
) -> [Vec<f32>; 3] {
    let mut slots = Slots::new();
    let corrections = slots.floats([2], corrections(f64::from(table[0][1]), t).to_vec());
    let table = slots.floats([table.len(), 3], table.concat());
    let [dw, w, first, second] = [dw, w, m, s].map(|block| slots.array(block));
    slots.load(device);
    let hyperparameters = Hyperparameters { table, corrections, decoupled };
    step(device, segments, hyperparameters, dw, w, Moments { first, second }).unwrap();
    [w, first, second].map(|slot| device.download(slot).unwrap())
}

/// Five steps of four weights by `torch.optim.Adam` 2.15 in f64: rate 0.01, betas 0.9 and 0.999,
/// weight_decay 0.1. Then its `exp_avg` and `exp_avg_sq`.
#[test]
fn five_steps_match_pytorch() {
    const GRADIENTS: [[f32; 4]; 5] = [
        [0.1, -0.2, 0.3, 0.0],
        [1.0, -1.0, 0.5, -0.5],
        [-0.1, 0.2, -0.3, 0.4],
        [0.01, -0.02, 0.03, 0.04],
        [2.0, 0.0, -2.0, 1e-3],
    ];
    const WEIGHTS: [[f64; 4]; 5] = [
        [0.490_000_000_667, -1.240_000_000_308, 1.990_000_000_200, 0.0],
        [0.481_685_462_916, -1.230_990_841_517, 1.980_049_580_852, 0.007_441_368_025],
        [0.475_578_231_093, -1.224_460_925_072, 1.973_164_902_994, 0.007_932_566_541],
        [0.470_267_792_077, -1.218_449_601_321, 1.966_232_911_711, 0.007_964_605_037],
        [0.463_359_335_542, -1.212_834_991_609, 1.968_519_957_530, 0.007_976_402_705],
    ];
    const FIRST: [f64; 4] =
        [2.919_981_342_551e-1, -1.220_385_201_574e-1, -8.437_868_514_959e-2, -1.386_857_697_506e-4];
    const SECOND: [f64; 4] =
        [5.315_822_586_324e-3, 1.405_811_516_222e-3, 4.050_309_022_266e-3, 4.111_912_347_701e-4];
    each_device(|device| {
        let segments = [Segment { start: 0, len: 4 }];
        let zeros = Array1::zeros(4);
        let mut blocks = [Array1::from(vec![0.5, -1.25, 2.0, 0.0]), zeros.clone(), zeros];
        for (t, (gradient, expected)) in (1..).zip(GRADIENTS.iter().zip(&WEIGHTS)) {
            let [w, m, s] = &blocks;
            let dw = Array1::from(gradient.to_vec());
            let after = run(device, &segments, &[[0.01, 0.9, 0.1]], t, [&dw, w, m, s]);
            close(&after[0], expected, 1e-6);
            blocks = after.map(Array1::from);
        }
        close(&blocks[1], &FIRST, 1e-6);
        close(&blocks[2], &SECOND, 1e-6);
    });
}

/// Ten steps of four weights by `torch.optim.AdamW` 2.15 in f64: rate 0.05, halved after five
/// steps, betas 0.9 and 0.999, weight_decay 0.1. Step t's gradient of weight i is sin(t + i).
#[test]
fn ten_steps_of_adamw_match_pytorch() {
    const WEIGHTS: [f64; 4] =
        [0.318_489_192_164, -1.266_551_421_806, 2.006_528_177_906, 0.172_513_578_010];
    const FIRST: [f64; 4] =
        [0.074_037_640_381, -0.062_705_424_202, -0.141_797_415_236, -0.090_521_521_027];
    const SECOND: [f64; 4] =
        [0.004_976_604_562, 0.005_270_583_991, 0.004_734_633_256, 0.004_886_722_355];
    each_device(|device| {
        let segments = [Segment { start: 0, len: 4 }];
        let zeros = Array1::zeros(4);
        let mut blocks = [Array1::from(vec![0.5, -1.25, 2.0, 0.0]), zeros.clone(), zeros];
        for t in 1..=10 {
            let [w, m, s] = &blocks;
            let dw = Array1::from_shape_fn(4, |i| f64::from(t + i as i32).sin() as f32);
            let table = [[if t > 5 { 0.025 } else { 0.05 }, 0.9, 0.1]];
            let t = t as u64;
            let after = run_by(device, true, &segments, &table, t, [&dw, w, m, s]);
            blocks = after.map(Array1::from);
        }
        close(&blocks[0], &WEIGHTS, 1e-6);
        close(&blocks[1], &FIRST, 1e-6);
        close(&blocks[2], &SECOND, 1e-6);
    });
}

#[test]
fn a_frozen_parameter_keeps_its_moments() {
    let [dw, w, m, s] = [1, 2, 3, 4].map(|seed| random_array(seed, 8).mapv(f32::abs));
    each_device(|device| {
        let segments = [Segment { start: 0, len: 4 }, Segment { start: 4, len: 4 }];
        let table = [[0.0, 0.9, 0.1], [0.1, 0.9, 0.1]];
        let after = run(device, &segments, &table, 3, [&dw, &w, &m, &s]);
        for (after, before) in after.iter().zip([&w, &m, &s]) {
            assert_eq!(after[..4], before.to_vec()[..4]);
            assert!(after[4..].iter().zip(before.iter().skip(4)).all(|(new, old)| new != old));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn equals_the_reference(
        lens in prop::collection::vec((1usize..70, 0usize..5), 1..5),
        t in 1u64..5000,
        seed in 0u64..100,
        decoupled: bool,
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
        let [dw, w, m, s] = [0, 1, 2, 3].map(|i| random_array(seed + i, end));
        let s = s.mapv(f32::abs);
        let table: Vec<[f32; 3]> =
            (0..segments.len()).map(|i| [0.01 * (i + 1) as f32, 0.9, 0.1 * i as f32]).collect();
        let [mut expected_w, mut expected_m, mut expected_s] = [&w, &m, &s].map(wide);
        let wide_dw = wide(&dw).to_vec();
        for (segment, row) in segments.iter().zip(&table) {
            let (range, row) = (segment.start..segment.start + segment.len, row.map(f64::from));
            let part = s![range.clone()];
            let moments = [expected_m.slice_mut(part), expected_s.slice_mut(part)];
            let dw = &wide_dw[range];
            reference::step(decoupled, row, t as i32, dw, expected_w.slice_mut(part), moments);
        }
        each_device(|device| {
            let blocks = [&dw, &w, &m, &s];
            let [new_w, new_m, new_s] = run_by(device, decoupled, &segments, &table, t, blocks);
            close(&new_w, &expected_w, 1e-5);
            close(&new_m, &expected_m, 1e-5);
            close(&new_s, &expected_s, 1e-5);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let [dw, w, m, s] = [1, 2, 3, 4].map(|seed| random_array(seed, 200_000).mapv(f32::abs));
    same_bits_for_threads(|threads| {
        let segments = [Segment { start: 3, len: 199_990 }];
        let table = [[0.1, 0.9, 0.01]];
        let mut device = Device::cpu(threads);
        let blocks = [&dw, &w, &m, &s];
        let run = |decoupled| run_by(&mut device, decoupled, &segments, &table, 7, blocks).concat();
        [false, true].map(run).concat()
    });
}

#[test]
fn nan_propagates() {
    let [dw, w, s] = [1, 2, 3].map(|seed| random_array(seed, 2).mapv(f32::abs));
    let m = Array1::from_elem(2, f32::NAN);
    each_device(|device| {
        let segments = [Segment { start: 0, len: 2 }];
        let [w, ..] = run(device, &segments, &[[0.1, 0.9, 0.0]], 1, [&dw, &w, &m, &s]);
        assert!(w.iter().all(|w| w.is_nan()));
    });
}

/// One launch for all segments is bit-identical to a launch for each.
#[test]
fn segments_of_a_launch_are_independent() {
    let (segments, len) = odd_segments();
    let [dw, w, m, s] = [1, 2, 3, 4].map(|seed| random_array(seed, len));
    let s = s.mapv(f32::abs);
    let rates = |idx: usize| [if idx % 5 == 4 { 0.0 } else { 0.1 + idx as f32 / 100.0 }, 0.9, 0.01];
    let table: Vec<[f32; 3]> = (0..segments.len()).map(rates).collect();
    each_gpu(|device| {
        for decoupled in [false, true] {
            let after = run_by(device, decoupled, &segments, &table, 7, [&dw, &w, &m, &s]);
            let mut next = [w.clone(), m.clone(), s.clone()];
            for (&segment, &row) in segments.iter().zip(&table) {
                let [w, m, s] = &next;
                let one = run_by(device, decoupled, &[segment], &[row], 7, [&dw, w, m, s]);
                next = one.map(Array1::from);
            }
            for (all, one) in after.iter().zip(&next) {
                bits_equal(all, &one.to_vec(), "w, m or s");
            }
            assert_ne!(after[0], w.to_vec());
        }
    });
}
