use super::*;
use ndarray::Array4;
use proptest::prelude::*;
use testkit::gradient::{Differences, central_differences};
use testkit::{Expected, OpCase, Slots, cases, close, each_device, geometry, random_array, wide};

/// The constants of section 3.3.
const PAPER: Geometry = Geometry {
    images: 1,
    height: 1,
    width: 1,
    channels: 5,
    region: Region::AcrossChannels { towers: 1 },
    size: 5,
    alpha: 1e-4,
    beta: 0.75,
    k: 2.0,
    divide_alpha: false,
};

fn run(device: &mut Device, g: &Geometry, x: &Array4<f32>, dy: &Array4<f32>) -> [Vec<f32>; 2] {
    let mut slots = Slots::new();
    let [x, dy] = [x, dy].map(|array| slots.array(array));
    let [y, dx] = [0; 2].map(|_| slots.room(g.shape()));
    slots.load(device);
    forward(device, g, x, y).unwrap();
    backward(device, g, x, dy, dx).unwrap();
    [y, dx].map(|slot| device.download(slot).unwrap())
}

fn operands(g: &Geometry, seed: u64) -> [Array4<f32>; 2] {
    let shape = (g.images, g.height, g.width, g.channels);
    [2 * seed, 2 * seed + 1].map(|seed| random_array(seed, shape) * 3.0)
}

struct Case {
    g: Geometry,
    x: Array4<f32>,
    dy: Array4<f32>,
}

impl Case {
    fn random(g: Geometry, seed: u64) -> Case {
        let [x, dy] = operands(&g, seed);
        Case { g, x, dy }
    }
}

impl OpCase<2> for Case {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 2] {
        run(device, &self.g, &self.x, &self.dy)
    }

    fn expected(&self) -> [Expected; 2] {
        let (g, x, dy) = (&self.g, wide(&self.x), wide(&self.dy));
        let y = Expected::new("y", &reference::forward(g, &x), 2e-6);
        // Both terms of dx may be large and nearly cancel.
        [y, Expected::new("dx", &reference::backward(g, &x, &dy), 2e-5)]
    }
}

/// By hand: windows of three over 1, 2, 3, 4 with k = 1, alpha = 1, beta = 1.
#[test]
fn known_answers() {
    let x = Array4::from_shape_vec((1, 1, 1, 4), vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let g = Geometry { channels: 4, size: 3, alpha: 1.0, beta: 1.0, k: 1.0, ..PAPER };
    let towers = Geometry { region: Region::AcrossChannels { towers: 2 }, ..g };
    let divided = Geometry { divide_alpha: true, alpha: 3.0, ..g };
    // An even window starts at i - size / 2: channels i - 1 and i.
    let even = Geometry { size: 2, ..g };
    let whole = [1.0 / 6.0, 2.0 / 15.0, 3.0 / 30.0, 4.0 / 26.0];
    each_device(|device| {
        let mut y = |g| run(device, g, &x, &x)[0].clone();
        close(&y(&g), &whole, 1e-6);
        close(&y(&divided), &whole, 1e-6);
        close(&y(&towers), &[1.0 / 6.0, 2.0 / 6.0, 3.0 / 26.0, 4.0 / 26.0], 1e-6);
        close(&y(&even), &[1.0 / 2.0, 2.0 / 6.0, 3.0 / 14.0, 4.0 / 26.0], 1e-6);
    });
}

#[test]
fn known_answers_within_the_map() {
    let x = Array4::from_shape_vec((1, 2, 2, 1), vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let g = Geometry { height: 2, width: 2, channels: 1, region: Region::WithinChannel, ..PAPER };
    let g = Geometry { size: 2, alpha: 4.0, beta: 1.0, k: 1.0, divide_alpha: true, ..g };
    each_device(|device| {
        // Windows of 2 x 2 start one up and one left: alpha / 4 times 1, 5, 10, 30.
        close(&run(device, &g, &x, &x)[0], &[1.0 / 2.0, 2.0 / 6.0, 3.0 / 11.0, 4.0 / 31.0], 1e-6);
    });
}

/// With AlexNet's values, y differs from x 2^-0.75 by the contribution of alpha.
#[test]
fn the_papers_constants() {
    let x = Array4::from_elem((1, 1, 1, 5), 100.0f32);
    each_device(|device| {
        let y = &run(device, &PAPER, &x, &x)[0];
        // The middle channel: (2 + 1e-4 * 5 * 1e4)^-0.75 = 7^-0.75.
        close(&y[2..3], &[100.0 * 7f64.powf(-0.75)][..], 1e-6);
        close(&y[..1], &[100.0 * 5f64.powf(-0.75)][..], 1e-6);
    });
}

fn region() -> impl Strategy<Value = Region> {
    prop_oneof![
        geometry::groups().prop_map(|towers| Region::AcrossChannels { towers }),
        Just(Region::WithinChannel)
    ]
}

prop_compose! {
    fn geometries()(
        (images, height, width) in (geometry::images(), geometry::side(), geometry::side()),
        (channels, region) in (geometry::channels(), region()),
        size in prop_oneof![4 => 1usize..=9, 1 => 10usize..=21],
        (alpha, beta) in (0.0f32..0.3, prop::sample::select(vec![0.75, 0.5, 1.0, 0.6])),
        (k, divide_alpha) in (prop::sample::select(vec![1.0, 2.0]), any::<bool>()),
    ) -> Geometry {
        let channels = match region {
            Region::AcrossChannels { towers } => channels * towers,
            Region::WithinChannel => channels,
        };
        Geometry { images, height, width, channels, region, size, alpha, beta, k, divide_alpha }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 64)))]
    #[test]
    fn every_device_follows_the_reference(g in geometries(), seed in 0u64..1000) {
        Case::random(g, seed).check();
    }

    #[test]
    fn the_reference_is_a_derivative(g in geometries(), seed in 0u64..1000) {
        let g = Geometry { images: 1, height: g.height.min(4), width: g.width.min(4), ..g };
        let [x, _] = operands(&g, seed);
        let shaped = |values: &[f64]| Array4::from_shape_vec(x.dim(), values.to_vec()).unwrap();
        let x64: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        central_differences(
            &x64,
            |x| reference::forward(&g, &shaped(x)).into_raw_vec_and_offset().0,
            |x, dy| reference::backward(&g, &shaped(x), &shaped(dy)).into_raw_vec_and_offset().0,
            Differences { tries: 20, ..Differences::F64 },
        );
    }
}

/// More channels than a strip or a cell has, and more pixels than a tile has.
#[test]
fn strips_and_tiles_join_correctly() {
    let across =
        Geometry { images: 2, height: 2, width: 3, channels: 2 * 771, alpha: 0.1, ..PAPER };
    let across = Geometry { region: Region::AcrossChannels { towers: 2 }, ..across };
    let within = Geometry { images: 1, height: 18, width: 34, channels: 49, size: 4, ..across };
    let within = Geometry { region: Region::WithinChannel, ..within };
    for g in [across, Geometry { size: 16, ..across }, within, Geometry { size: 9, ..within }] {
        Case::random(g, 5).check();
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let across = Geometry { images: 3, height: 17, width: 13, channels: 96, ..PAPER };
    let within = Geometry { region: Region::WithinChannel, ..across };
    for g in [across, within] {
        Case::random(g, 8).check_threads();
    }
}

#[test]
fn nan_stays_inside_its_windows() {
    let g = Geometry { channels: 40, ..PAPER };
    let [mut x, dy] = operands(&g, 1);
    x[[0, 0, 0, 20]] = f32::NAN;
    each_device(|device| {
        let [y, dx] = run(device, &g, &x, &dy);
        assert_eq!((0..40).filter(|&i| y[i].is_nan()).collect::<Vec<_>>(), [18, 19, 20, 21, 22]);
        assert_eq!((0..40).filter(|&i| dx[i].is_nan()).count(), 9);
    });
}

#[test]
#[should_panic(expected = "5 channels in 2 equal towers")]
fn towers_are_equal() {
    let g = Geometry { region: Region::AcrossChannels { towers: 2 }, ..PAPER };
    let [x, dy] = operands(&g, 1);
    run(&mut Device::cpu(1), &g, &x, &dy);
}
