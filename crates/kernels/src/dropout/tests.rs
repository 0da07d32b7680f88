use super::*;
use ndarray::Array1;
use proptest::prelude::*;
use testkit::gradient::adjoint;
use testkit::{Slots, cases, close, each_device, random_array, same_bits_for_threads};

/// The training forward pass, the backward pass of `dy`, and the test-time pass.
fn run(
    device: &mut Device,
    g: &Geometry,
    (seed, step): (u64, u32),
    x: &Array1<f32>,
    dy: &Array1<f32>,
) -> [Vec<f32>; 3] {
    let mut slots = Slots::new();
    let clock = slots.words([3], vec![seed as u32, (seed >> 32) as u32, step]);
    let (x, dy) = (slots.array(x), slots.array(dy));
    let [y, dx, test] = [(); 3].map(|()| slots.room([g.units]));
    slots.load(device);
    forward(device, g, clock, x, y).unwrap();
    backward(device, g, clock, dy, dx).unwrap();
    at_test(device, g, x, test).unwrap();
    [y, dx, test].map(|slot| device.download(slot).unwrap())
}

const HALF: Geometry =
    Geometry { units: 10_000, layer: 6, drop: 0.5, scaling: Scaling::Paper, columns: None };

#[test]
fn half_of_the_units_are_dropped_and_steps_and_layers_differ() {
    let ones = Array1::from_elem(HALF.units, 1.0);
    each_device(|device| {
        let mut kept =
            |g: &Geometry, seed, step| run(device, g, (seed, step), &ones, &ones)[0].clone();
        let mask = kept(&HALF, 1, 0);
        // Binomial standard deviation 50; four of them.
        let count = mask.iter().filter(|&&y| y == 1.0).count();
        assert!(count.abs_diff(5000) < 200, "{count}");
        assert!(mask.iter().all(|&y| y == 0.0 || y == 1.0));
        assert_eq!(mask, kept(&HALF, 1, 0));
        for other in [
            kept(&HALF, 2, 0),
            kept(&HALF, 1 << 32, 0),
            kept(&HALF, 1, 1),
            kept(&Geometry { layer: 7, ..HALF }, 1, 0),
        ] {
            let agree = mask.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(agree.abs_diff(5000) < 200, "{agree} of 10000 agree");
        }
    });
}

/// A unit's mean output in training equals its output at test time.
#[test]
fn both_scalings_preserve_the_mean() {
    let ones = Array1::from_elem(HALF.units, 1.0);
    for scaling in [Scaling::Paper, Scaling::Inverted] {
        let g = Geometry { scaling, drop: 0.3, ..HALF };
        each_device(|device| {
            let [train, _, test] = run(device, &g, (3, 9), &ones, &ones);
            let mean = train.iter().sum::<f32>() / train.len() as f32;
            assert!((mean - test[0]).abs() < 0.03, "{scaling:?}: {mean} {}", test[0]);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64, 256)))]

    #[test]
    fn equals_the_reference_and_its_own_adjoint(
        units in 1usize..300,
        layer: u32,
        drop in 0.0f32..0.95,
        inverted: bool,
        seed: u64,
        step: u32,
    ) {
        let scaling = if inverted { Scaling::Inverted } else { Scaling::Paper };
        let g = Geometry { units, layer, drop, scaling, columns: None };
        let (x, dy): (Array1<f32>, Array1<f32>) = (random_array(1, units), random_array(2, units));
        each_device(|device| {
            let [y, dx, test] = run(device, &g, (seed, step), &x, &dy);
            close(&y, &reference::forward(&g, seed, step, &x), 1e-4);
            close(&test, &reference::at_test(&g, &x), 1e-6);
            adjoint(&x.to_vec(), &dx, &y, &dy.to_vec(), 1e-4);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let g = Geometry { units: 100_003, ..HALF };
    let x: Array1<f32> = random_array(1, g.units);
    same_bits_for_threads(|threads| run(&mut Device::cpu(threads), &g, (1, 2), &x, &x).concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64, 256)))]

    /// Towers draw the masks that one device draws for the whole layer.
    #[test]
    fn parts_have_the_masks_of_the_whole(
        (rows, width, towers) in (1usize..6, 1usize..24, 2usize..4),
        inverted: bool,
    ) {
        let scaling = if inverted { Scaling::Inverted } else { Scaling::Paper };
        let whole = Geometry {
            units: rows * width * towers,
            layer: 3,
            drop: 0.4,
            scaling,
            columns: None,
        };
        let x: Array1<f32> = random_array(1, whole.units);
        each_device(|device| {
            let expected = run(device, &whole, (1, 2), &x, &x);
            for tower in 0..towers {
                let columns = Columns { width, first: tower * width, whole: width * towers };
                let units = rows * width;
                let g = Geometry { units, columns: Some(columns), ..whole };
                let own = |values: &[f32]| {
                    let rows = values.chunks(width * towers);
                    rows.flat_map(|row| &row[tower * width..][..width]).copied().collect::<Vec<_>>()
                };
                let x = Array1::from(own(x.as_slice().unwrap()));
                let results = run(device, &g, (1, 2), &x, &x);
                for (result, expected) in results.iter().zip(&expected) {
                    assert_eq!(result, &own(expected));
                }
                close(&results[0], &reference::forward(&g, 1, 2, &x), 1e-4);
            }
        });
    }
}
