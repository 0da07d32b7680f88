use super::*;
use ndarray::Array4;
use proptest::prelude::*;
use testkit::gradient::{Differences, adjoint, central_differences};
use testkit::{
    Expected, OpCase, Slots, bits_equal, cases, distinct_array, each_device, geometry,
    random_array, same_bits_for_threads, wide,
};

const ALL: Reduction = Reduction::Max { ties: Ties::All };
const FIRST: Reduction = Reduction::Max { ties: Ties::First };

/// pool1 of the paper, for one channel.
const PAPER: Geometry = Geometry {
    images: 1,
    height: 55,
    width: 55,
    channels: 1,
    reduction: ALL,
    window: 3,
    stride: 2,
    pad: 0,
    ceil: false,
};

fn run(device: &mut Device, g: &Geometry, x: &Array4<f32>, dy: &Array4<f32>) -> [Vec<f32>; 2] {
    let mut slots = Slots::new();
    let [x, dy] = [x, dy].map(|array| slots.array(array));
    let [y, dx] = [g.out_shape(), g.in_shape()].map(|shape| slots.room(shape));
    slots.load(device);
    forward(device, g, x, y).unwrap();
    backward(device, g, x, y, dy, dx).unwrap();
    [y, dx].map(|slot| device.download(slot).unwrap())
}

fn in_dim(g: &Geometry) -> (usize, usize, usize, usize) {
    (g.images, g.height, g.width, g.channels)
}

fn out_dim(g: &Geometry) -> (usize, usize, usize, usize) {
    (g.images, g.out_height(), g.out_width(), g.channels)
}

struct Case {
    g: Geometry,
    x: Array4<f32>,
    dy: Array4<f32>,
    /// Of y and dx.
    tolerances: [f64; 2],
}

impl OpCase<2> for Case {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 2] {
        run(device, &self.g, &self.x, &self.dy)
    }

    fn expected(&self) -> [Expected; 2] {
        let (g, x, dy) = (&self.g, wide(&self.x), wide(&self.dy));
        let y = reference::forward(g, &x);
        let dx = reference::backward(g, &x, &y, &dy);
        let [y_tolerance, dx_tolerance] = self.tolerances;
        [Expected::new("y", &y, y_tolerance), Expected::new("dx", &dx, dx_tolerance)]
    }
}

/// Map sizes of the paper's network (55, 27, 13, 6) and of the CIFAR networks, which round up (32,
/// 16, 8, 4). As in PyTorch, no window starts after the input.
#[test]
fn output_sizes() {
    let out = |height, ceil| Geometry { height, ceil, ..PAPER }.out_height();
    assert_eq!([55, 27, 13].map(|n| out(n, false)), [27, 13, 6]);
    assert_eq!([32, 16, 8].map(|n| out(n, true)), [16, 8, 4]);
    assert_eq!(out(32, false), 15);
    let padded = Geometry { height: 4, window: 2, stride: 3, pad: 1, ceil: true, ..PAPER };
    // Windows start at -1 and 2. A third would start at 5, after the input and its padding.
    assert_eq!(padded.out_height(), 2);
}

#[test]
fn known_answers() {
    let g = Geometry { height: 2, width: 3, window: 2, stride: 1, ..PAPER };
    let x = Array4::from_shape_vec(in_dim(&g), vec![1.0, 5.0, 5.0, 5.0, 2.0, -1.0]).unwrap();
    let dy = Array4::from_shape_vec(out_dim(&g), vec![1.0, 10.0]).unwrap();
    each_device(|device| {
        let [y, dx] = run(device, &g, &x, &dy);
        assert_eq!((y, dx), (vec![5.0, 5.0], vec![0.0, 11.0, 10.0, 1.0, 0.0, 0.0]));
        let [_, dx] = run(device, &Geometry { reduction: FIRST, ..g }, &x, &dy);
        assert_eq!(dx, [0.0, 11.0, 0.0, 0.0, 0.0, 0.0]);
        let [y, dx] = run(device, &Geometry { reduction: Reduction::Average, ..g }, &x, &dy);
        assert_eq!((y, dx), (vec![3.25, 2.75], vec![0.25, 2.75, 2.5, 0.25, 2.75, 2.5]));
    });
}

/// The last window extends over the edge: its mean excludes pixels that do not exist.
#[test]
fn averages_count_existing_pixels() {
    let g = Geometry { height: 1, width: 4, window: 3, stride: 2, pad: 1, ..PAPER };
    let g = Geometry { reduction: Reduction::Average, ceil: true, ..g };
    let x = Array4::from_shape_vec(in_dim(&g), vec![1.0, 2.0, 4.0, 8.0]).unwrap();
    let dy = Array4::ones(out_dim(&g));
    each_device(|device| {
        assert_eq!(run(device, &g, &x, &dy)[0][..3], [1.5, 14.0 / 3.0, 8.0]);
    });
}

#[test]
fn every_window_with_a_nan_is_nan() {
    let g = Geometry { height: 1, width: 6, window: 3, stride: 1, pad: 1, ..PAPER };
    for at in 0..6 {
        let mut x = random_array(at as u64, in_dim(&g));
        x[[0, 0, at, 0]] = f32::NAN;
        each_device(|device| {
            for reduction in [ALL, FIRST, Reduction::Average] {
                let g = Geometry { reduction, ..g };
                let [y, _] = run(device, &g, &x, &Array4::ones(out_dim(&g)));
                let nan_outputs: Vec<_> = (0..6).filter(|&o| y[o].is_nan()).collect();
                let covering: Vec<_> = (at.saturating_sub(1)..(at + 2).min(6)).collect();
                assert_eq!(nan_outputs, covering);
            }
        });
    }
}

prop_compose! {
    fn geometries()(
        (images, height, width) in (geometry::images(), geometry::side(), geometry::side()),
        (channels, reduction) in
            (geometry::channels(), prop::sample::select(vec![ALL, FIRST, Reduction::Average])),
        (window, stride) in (geometry::window(), geometry::stride()),
        (pad, ceil) in (0usize..4, any::<bool>()),
    ) -> Geometry {
        let pad = pad.min(window - 1);
        // With its padding, the map is at least as large as a window.
        let [height, width] =
            [height, width].map(|extent| extent.max(window.saturating_sub(2 * pad)));
        Geometry { images, height, width, channels, reduction, window, stride, pad, ceil }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(32, 64)))]
    #[test]
    fn every_device_follows_the_reference(
        g in geometries(),
        seed in 0u64..1000,
        levels in 2u32..9,
    ) {
        // x has few distinct values, hence many ties. dy has multiples of 1/8, whose sums are exact
        // in any order.
        let x = random_array(seed, in_dim(&g)).mapv(|x| (x * levels as f32 / 2.0).round());
        let dy = random_array(seed + 1, out_dim(&g)).mapv(|dy| (dy * 8.0).round() / 8.0);
        let is_average = g.reduction == Reduction::Average;
        let tolerances = if is_average { [1e-6, 2e-6] } else { [0.0; 2] };
        Case { g, x, dy, tolerances }.check();
    }

    /// `backward_in_place` is bit-identical to `backward` followed by the ReLU's mask.
    #[test]
    fn in_place_matches_backward_and_mask(g in geometries(), seed in 0u64..1000, relu: bool) {
        prop_assume!(fits_in_place(g.reduction));
        let x = random_array(seed, in_dim(&g)).mapv(f32::round);
        let dy = random_array(seed + 1, out_dim(&g));
        each_device(|device| {
            let mut slots = Slots::new();
            let [x, dy] = [&x, &dy].map(|array| slots.array(array));
            let [y, dx] = [g.out_shape(), g.in_shape()].map(|shape| slots.room(shape));
            slots.load(device);
            forward(device, &g, x, y).unwrap();
            backward(device, &g, x, y, dy, dx).unwrap();
            if relu {
                crate::activation::mask_by_relu(device, x, dx).unwrap();
            }
            backward_in_place(device, &g, relu, y, dy, x).unwrap();
            let [in_place, separate] = [x, dx].map(|slot| device.download::<f32>(slot).unwrap());
            bits_equal(&in_place, &separate, "in place");
        });
    }

    #[test]
    fn the_reference_is_a_derivative(g in geometries(), seed in 0u64..1000) {
        let g = Geometry { images: 1, height: g.height.min(7), width: g.width.min(7), ..g };
        let x = wide(&distinct_array(seed, in_dim(&g)));
        let shaped = |dim, values: &[f64]| Array4::from_shape_vec(dim, values.to_vec()).unwrap();
        central_differences(
            &x.iter().copied().collect::<Vec<_>>(),
            |x| {
                reference::forward(&g, &shaped(in_dim(&g), x)).into_raw_vec_and_offset().0
            },
            |x, dy| {
                let x = shaped(in_dim(&g), x);
                let y = reference::forward(&g, &x);
                let dx = reference::backward(&g, &x, &y, &shaped(out_dim(&g), dy));
                dx.into_raw_vec_and_offset().0
            },
            Differences { tries: 20, ..Differences::F64 },
        );
    }

    /// Average pooling is linear, so its backward pass is its adjoint.
    #[test]
    fn the_backward_pass_of_averages_is_the_adjoint(g in geometries(), seed in 0u64..1000) {
        let g = Geometry { reduction: Reduction::Average, ..g };
        let x = random_array(seed, in_dim(&g));
        let dy = random_array(seed + 1, out_dim(&g));
        each_device(|device| {
            let [y, dx] = run(device, &g, &x, &dy);
            let [x, dy] = [&x, &dy].map(|array| array.iter().copied().collect::<Vec<f32>>());
            adjoint(&x, &dx, &y, &dy, 1e-5);
        });
    }
}

/// More channels than one strip holds (601), and channels that need strips of every width (41).
#[test]
fn strips_join_correctly() {
    for (channels, reduction) in [(601, FIRST), (601, ALL), (41, ALL), (41, Reduction::Average)] {
        let g = Geometry { height: 5, width: 5, channels, reduction, ..PAPER };
        let x = random_array(1, in_dim(&g)).mapv(f32::round);
        let dy = random_array(2, out_dim(&g));
        Case { g, x, dy, tolerances: [1e-6; 2] }.check();
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for reduction in [ALL, FIRST, Reduction::Average] {
        let g = Geometry { images: 3, channels: 33, reduction, ..PAPER };
        let (x, dy) = (random_array(1, in_dim(&g)), random_array(2, out_dim(&g)));
        same_bits_for_threads(|threads| run(&mut Device::cpu(threads), &g, &x, &dy).concat());
    }
}

#[test]
#[should_panic(expected = "cover no pixel")]
fn padding_is_less_than_a_window() {
    let g = Geometry { window: 2, pad: 2, ..PAPER };
    run(&mut Device::cpu(1), &g, &Array4::zeros(in_dim(&g)), &Array4::zeros(out_dim(&g)));
}
