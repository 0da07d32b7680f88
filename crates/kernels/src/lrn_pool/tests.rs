use super::*;
use ndarray::Array4;
use proptest::prelude::*;
use testkit::{
    Slots, bits_equal, cases, close, each_device, geometry, random_array, same_bits_for_threads,
    wide,
};

/// A small version of a tower of the paper's second layer: section 3.3's constants, overlapping
/// windows.
fn paper(images: usize, side: usize, channels: usize) -> Geometry {
    let lrn = lrn::Geometry {
        images,
        height: side,
        width: side,
        channels,
        region: Region::AcrossChannels { towers: 1 },
        size: 5,
        alpha: 1e-4,
        beta: 0.75,
        k: 2.0,
        divide_alpha: false,
    };
    on(lrn, 3, 2, 0, false)
}

fn on(lrn: lrn::Geometry, window: usize, stride: usize, pad: usize, ceil: bool) -> Geometry {
    let lrn::Geometry { images, height, width, channels, .. } = lrn;
    let reduction = Reduction::Max { ties: Ties::All };
    let pool =
        pool::Geometry { images, height, width, channels, reduction, window, stride, pad, ceil };
    Geometry { lrn, pool, relu: true }
}

/// y, and dx.
fn run(device: &mut Device, g: &Geometry, x: &Array4<f32>, dy: &Array4<f32>) -> [Vec<f32>; 2] {
    let mut slots = Slots::new();
    let [x, dy] = [x, dy].map(|array| slots.array(array));
    let y = slots.room(g.pool.out_shape());
    slots.load(device);
    forward(device, g, x, y).unwrap();
    backward_in_place(device, g, y, dy, x).unwrap();
    [y, x].map(|slot| device.download(slot).unwrap())
}

/// The same results from the two separate ops.
fn separate(device: &mut Device, g: &Geometry, x: &Array4<f32>, dy: &Array4<f32>) -> [Vec<f32>; 2] {
    let mut slots = Slots::new();
    let [x, dy] = [x, dy].map(|array| slots.array(array));
    let y = slots.room(g.pool.out_shape());
    let [normal, d_normal, dx] = [0; 3].map(|_| slots.room(g.pool.in_shape()));
    slots.load(device);
    lrn::forward(device, &g.lrn, x, normal).unwrap();
    pool::forward(device, &g.pool, normal, y).unwrap();
    pool::backward(device, &g.pool, normal, y, dy, d_normal).unwrap();
    lrn::backward(device, &g.lrn, x, d_normal, dx).unwrap();
    if g.relu {
        crate::activation::mask_by_relu(device, x, dx).unwrap();
    }
    [y, dx].map(|slot| device.download(slot).unwrap())
}

/// x as the output of a ReLU, half of it zeros, and dy.
fn operands(g: &Geometry, seed: u64) -> [Array4<f32>; 2] {
    let pool = &g.pool;
    let shape = (pool.images, pool.height, pool.width, pool.channels);
    let out = (pool.images, pool.out_height(), pool.out_width(), pool.channels);
    let x = random_array(2 * seed, shape).mapv(|x: f32| if g.relu { x.max(0.0) } else { x });
    [x * 3.0, random_array(2 * seed + 1, out)]
}

/// Two pixels of one channel in one window: n = 1, alpha = 1, beta = 1, k = 1.
#[test]
fn known_answer() {
    let g = paper(1, 1, 1);
    let lrn = lrn::Geometry { width: 2, size: 1, alpha: 1.0, beta: 1.0, k: 1.0, ..g.lrn };
    let window_of_two = Geometry { relu: false, ..on(lrn, 2, 2, 1, false) };
    let x = Array4::from_shape_vec((1, 1, 2, 1), vec![1.0, 3.0]).unwrap();
    let dy = Array4::from_shape_vec((1, 1, 2, 1), vec![2.0, 5.0]).unwrap();
    each_device(|device| {
        // With a padding of one, each pixel has its own window: x / (1 + x^2), with the derivative
        // (1 - x^2) / (1 + x^2)^2.
        let [y, dx] = run(device, &window_of_two, &x, &dy);
        close(&y, &[0.5, 0.3], 1e-6);
        close(&dx, &[0.0, 5.0 * -8.0 / 100.0], 1e-6);
    });
}

/// Whether no two values of a window are so close that rounding to f32 could change their order,
/// and thereby their gradients.
fn has_distinct_maxima(g: &Geometry, x: &Array4<f32>) -> bool {
    let normal = lrn::reference::forward(&g.lrn, &wide(x));
    let y = pool::reference::forward(&g.pool, &normal);
    y.indexed_iter().all(|((image, row, column, channel), &y)| {
        let rows = g.pool.covered(row, g.pool.height);
        let near = rows.flat_map(|row| {
            g.pool.covered(column, g.pool.width).map(move |column| (image, row, column, channel))
        });
        near.filter(|&at| (normal[at] - y).abs() < 3e-6 * y.abs()).count() == 1
    })
}

prop_compose! {
    fn geometries()(
        (images, height, width) in (geometry::images(), geometry::side(), geometry::side()),
        (channels, towers) in (geometry::channels(), geometry::groups()),
        size in 1usize..=9,
        (alpha, beta) in (0.0f32..0.3, prop::sample::select(vec![0.75, 0.5, 1.0, 0.6])),
        (k, divide_alpha) in (prop::sample::select(vec![1.0, 2.0]), any::<bool>()),
        (window, stride) in (1usize..=4, 1usize..=4),
        (pad, ceil, relu) in (0usize..=1, any::<bool>(), any::<bool>()),
    ) -> Geometry {
        let lrn = lrn::Geometry {
            images, height, width, channels: channels * towers,
            region: Region::AcrossChannels { towers },
            size, alpha, beta, k, divide_alpha,
        };
        let window = window.min(height).min(width);
        Geometry { relu, ..on(lrn, window, stride, pad.min(window / 2), ceil) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 64)))]
    #[test]
    fn is_bit_identical_to_the_two_ops(g in geometries(), seed in 0u64..1000) {
        let [x, dy] = operands(&g, seed);
        each_device(|device| {
            let [y, dx] = run(device, &g, &x, &dy);
            let [y_separate, dx_separate] = separate(device, &g, &x, &dy);
            bits_equal(&y, &y_separate, "y");
            bits_equal(&dx, &dx_separate, "dx");
        });
    }

    #[test]
    fn every_device_follows_the_reference(g in geometries(), seed in 0u64..1000) {
        let [x, dy] = operands(&Geometry { relu: false, ..g }, seed);
        prop_assume!(has_distinct_maxima(&g, &x));
        let y = reference::forward(&g, &wide(&x));
        let dx = reference::backward(&g, &wide(&x), &wide(&dy));
        each_device(|device| {
            let [actual_y, actual_dx] = run(device, &g, &x, &dy);
            close(&actual_y, &y, 2e-6);
            close(&actual_dx, &dx, 2e-5);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for g in [paper(3, 17, 96), paper(1, 27, 32)] {
        let [x, dy] = operands(&g, 8);
        same_bits_for_threads(|threads| run(&mut Device::cpu(threads), &g, &x, &dy).concat());
    }
}

#[test]
fn nan_propagates() {
    let g = paper(1, 5, 8);
    let [mut x, dy] = operands(&g, 1);
    x[[0, 2, 2, 4]] = f32::NAN;
    each_device(|device| {
        let [y, dx] = run(device, &g, &x, &dy);
        // The middle pixel is in all four windows; five channels' LRN windows contain channel 4.
        assert_eq!(y.iter().filter(|y| y.is_nan()).count(), 4 * 5);
        assert!(dx.iter().any(|dx| dx.is_nan()));
        bits_equal(&dx, &separate(device, &g, &x, &dy)[1], "dx");
    });
}

#[test]
fn geometries_that_fit_in_one_pass() {
    let all = Reduction::Max { ties: Ties::All };
    let across = |towers| Region::AcrossChannels { towers };
    assert!(Geometry::fits(across(1), 5, 96, all) && Geometry::fits(across(2), 5, 256, all));
    assert!(!Geometry::fits(Region::WithinChannel, 5, 96, all));
    assert!(!Geometry::fits(across(1), 5, 1021, all) && Geometry::fits(across(1), 5, 1020, all));
    assert!(!Geometry::fits(across(1), 5, 96, Reduction::Average));
    assert!(!Geometry::fits(across(1), 5, 96, Reduction::Max { ties: Ties::First }));
}
