use super::*;
use crate::segments::odd_segments;
use ndarray::Array1;
use proptest::prelude::*;
use testkit::{
    Slots, bits_equal, cases, close, each_device, each_gpu, random_array, same_bits_for_threads,
};

/// Gradients and norms of blocks after [`norms`]; norms of no block stay at -1.
fn run(device: &mut Device, rows: &[Rows], limit: f32, dw: &Array1<f32>) -> [Vec<f32>; 2] {
    let mut slots = Slots::new();
    let blocks = rows.iter().map(|rows| rows.at + rows.blocks()).max().unwrap() + 1;
    let (dw, out) = (slots.array(dw), slots.floats([blocks], vec![-1.0; blocks]));
    slots.load(device);
    norms(device, rows, limit, dw, out).unwrap();
    [dw, out].map(|slot| device.download(slot).unwrap())
}

/// By hand: 3, 4 and 12 have norm 13.
#[test]
fn known_answer() {
    let dw = Array1::from(vec![9.0, 3.0, -4.0, 12.0, 0.0, 8.0, 6.0]);
    each_device(|device| {
        let rows = [
            Rows { start: 1, row: 4, count: 1, at: 1 },
            Rows { start: 5, row: 1, count: 2, at: 3 },
        ];
        let [same, norms] = run(device, &rows, f32::INFINITY, &dw);
        assert_eq!((same, &norms[..]), (dw.to_vec(), &[-1.0, 13.0, -1.0, 8.0, 6.0, -1.0][..]));
        assert_eq!(combined([13.0, 8.0, 6.0].into_iter()), 269f64.sqrt());
        let [limited, norms] = run(device, &rows[..1], 4.0, &dw);
        assert_eq!(limited, [9.0, 3.0, -4.0, 4.0, 0.0, 8.0, 6.0]);
        close(&norms[1..2], &[41f64.sqrt()], 1e-7);
    });
}

/// `torch.nn.utils.clip_grad_norm_` 2.15 in f64, of gradients with norm 13 and max_norm 1 and 20.
#[test]
fn the_factor_is_pytorchs() {
    assert_eq!(factor(13.0, 1.0), 0.076_923_071_005_917_62);
    assert_eq!(factor(13.0, 20.0), 1.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(32, 64)))]
    #[test]
    fn equals_the_reference(
        row in prop::sample::select(vec![1usize, 7, 300, BLOCK, BLOCK + 5, 2 * BLOCK + 1]),
        count in 1usize..5,
        gap in 0usize..4,
        limited: bool,
        seed in 0u64..100,
    ) {
        let dw: Array1<f32> = random_array(seed, gap + row * count + 3);
        let rows = Rows { start: gap, row, count, at: gap };
        let limit = if limited { 0.5 } else { f32::INFINITY };
        let mut expected = dw.to_vec();
        let norms = reference::norms(&rows, limit, &mut expected);
        let by: f32 = random_array(seed + 1, 1)[0];
        let mut scaled = dw.to_vec();
        reference::scale(by, &mut scaled[gap..gap + row]);
        each_device(|device| {
            let [after, found] = run(device, &[rows], limit, &dw);
            assert_eq!(after, expected);
            close(&found[gap..gap + norms.len()], &norms, 1e-6);
            let mut slots = Slots::new();
            let (gradients, factor) = (slots.array(&dw), slots.floats([1], vec![by]));
            slots.load(device);
            scale(device, &[Segment { start: gap, len: row }], factor, gradients).unwrap();
            close(&device.download::<f32>(gradients).unwrap(), &scaled, 1e-6);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let dw = random_array(1, 300_000);
    same_bits_for_threads(|threads| {
        let rows = [
            Rows { start: 3, row: 9000, count: 33, at: 0 },
            Rows { start: 299_000, row: 1, count: 900, at: 99 },
        ];
        run(&mut Device::cpu(threads), &rows, 0.75, &dw).concat()
    });
}

/// Rows that two devices share have the norms of those on one.
#[test]
fn norms_do_not_depend_on_who_has_the_rows() {
    let dw = random_array(2, 6 * 5000);
    each_device(|device| {
        let all = Rows { start: 0, row: 5000, count: 6, at: 0 };
        let [_, whole] = run(device, &[all], f32::INFINITY, &dw);
        let first = Rows { count: 4, ..all };
        let second = Rows { start: 20_000, count: 2, at: 8, ..all };
        let [_, parts] = run(device, &[second, first], f32::INFINITY, &dw);
        assert_eq!(whole, parts);
    });
}

#[test]
fn nan_propagates() {
    let dw = Array1::from(vec![1.0, f32::NAN, 3.0]);
    each_device(|device| {
        let rows = [Rows { start: 0, row: 3, count: 1, at: 0 }];
        let [after, norms] = run(device, &rows, 2.0, &dw);
        assert!(after[1].is_nan() && norms[0].is_nan() && after[2] == 2.0);
    });
}

/// One launch scales all segments, and nothing between them.
#[test]
fn segments_of_a_launch_are_scaled_once() {
    let (segments, len) = odd_segments();
    let dw: Array1<f32> = random_array(1, len);
    let mut expected = dw.to_vec();
    for &Segment { start, len } in &segments {
        expected[start..start + len].iter_mut().for_each(|value| *value *= 0.3);
    }
    each_gpu(|device| {
        let mut slots = Slots::new();
        let (gradients, factor) = (slots.array(&dw), slots.floats([1], vec![0.3]));
        slots.load(device);
        scale(device, &segments, factor, gradients).unwrap();
        bits_equal(&device.download::<f32>(gradients).unwrap(), &expected, "gradients");
    });
}
