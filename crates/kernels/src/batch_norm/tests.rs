use super::*;
use ndarray::{Array1, Array2, array, s};
use proptest::prelude::*;
use testkit::gradient::{Differences, central_differences};
use testkit::{
    Slots, close, close_beside_one, each_device, random_array, same_bits_for_threads, wide,
};

const EPSILON: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// A batch, and parameters and running statistics before it.
struct Case {
    g: Geometry,
    counted: usize,
    share: f32,
    x: Array2<f32>,
    dy: Array2<f32>,
    scale: Array1<f32>,
    shift: Array1<f32>,
    running: [Array1<f32>; 2],
}

impl Case {
    fn random([images, pixels, channels]: [usize; 3], counted: usize, seed: u64) -> Case {
        let g = Geometry { images, pixels, channels, epsilon: EPSILON };
        let matrix = |seed| random_array(seed, (images * pixels, channels));
        let vector = |at: u64| random_array::<ndarray::Ix1, _>(seed ^ at, channels);
        let mut dy: Array2<f32> = matrix(!seed);
        // Neighbours differ by 2 or more: the variance of equal ones would be all rounding error.
        let mut x = matrix(seed).mapv(f32::tanh) + 2.0;
        x.slice_mut(s![..;2, ..]).map_inplace(|x| *x += 4.0);
        dy.slice_mut(s![counted * pixels.., ..]).fill(0.0);
        Case {
            g,
            counted,
            share: 0.5,
            x,
            dy,
            scale: vector(1),
            shift: vector(2),
            running: [vector(3), vector(4).mapv(f32::abs)],
        }
    }
}

/// y in training, dx, the gradients of scale, shift, mean and variance, and y at test time.
fn run(device: &mut Device, case: &Case) -> [Vec<f32>; 7] {
    let Case { g, counted, share, x, dy, scale, shift, running } = case;
    let mut slots = Slots::new();
    let batch = slots.words([2], vec![*counted as u32, share.to_bits()]);
    let [x, dy] = [x, dy].map(|matrix| slots.array(matrix));
    let [scale, shift] = [scale, shift].map(|vector| slots.array(vector));
    let [mean, variance] = running.each_ref().map(|vector| slots.array(vector));
    let [y, dx, tested] = [0; 3].map(|_| slots.room(x.shape()));
    let mut vector = || slots.room([g.channels]);
    let vectors = Vectors { scale, shift, mean, variance };
    let gradients =
        Vectors { scale: vector(), shift: vector(), mean: vector(), variance: vector() };
    let scratch = slots.room([g.scratch()]);
    slots.load(device);
    let found = Vectors { mean: gradients.mean, variance: gradients.variance, ..vectors };
    forward_batch(device, g, &ForwardBatch { batch, x, vectors: found, y }, scratch).unwrap();
    forward(device, g, x, vectors, tested, scratch).unwrap();
    let momentum = MOMENTUM;
    let work = Backward { batch, x, dy, vectors, momentum, dx: Some(dx), gradients };
    backward(device, g, &work, scratch).unwrap();
    let Vectors { scale, shift, mean, variance } = gradients;
    [y, dx, scale, shift, mean, variance, tested].map(|slot| device.download(slot).unwrap())
}

/// By hand: 1, 3 has mean 2 and variance 1 (divided by 2); 5, 5 has variance 0, and its scale has
/// gradient 0.
#[test]
fn known_answers() {
    let case = Case {
        g: Geometry { images: 2, pixels: 1, channels: 2, epsilon: 1e-12 },
        counted: 2,
        share: 1.0,
        x: array![[1.0, 5.0], [3.0, 5.0]],
        dy: array![[1.0, 1.0], [0.0, 3.0]],
        scale: array![2.0, 2.0],
        shift: array![10.0, 20.0],
        running: [array![0.0, 0.0], array![4.0, 1.0]],
    };
    each_device(|device| {
        let [y, dx, scale, shift, mean, variance, tested] = run(device, &case);
        close(&y, &[8.0, 20.0, 12.0, 20.0], 1e-6);
        close(&[dx[0], dx[2]], &[0.0, 0.0], 1e-6); // mean and deviation determine two inputs
        close(&scale, &[-1.0, 0.0], 1e-6);
        close(&shift, &[1.0, 4.0], 1e-6);
        // Running 0 moves by a tenth towards 2, running 4 to 2.
        close(&mean, &[-0.2, -0.5], 1e-6);
        close(&variance, &[0.2, 0.1], 1e-6);
        close(&tested, &[11.0, 30.0, 13.0, 30.0], 1e-6);
    });
}

/// The first `counted` images are normalised without the others.
#[test]
fn padding_is_excluded() {
    each_device(|device| {
        let padded = Case::random([5, 6, 7], 3, 9);
        let rows = s![..18, ..];
        let alone = Case {
            g: Geometry { images: 3, ..padded.g },
            x: padded.x.slice(rows).to_owned(),
            dy: padded.dy.slice(rows).to_owned(),
            ..Case::random([5, 6, 7], 3, 9)
        };
        let (padded, alone) = (run(device, &padded), run(device, &alone));
        for (padded, alone) in padded.iter().zip(&alone) {
            close(&padded[..alone.len()], &alone[..], 1e-6);
        }
        assert!(padded[1][18 * 7..].iter().all(|&dx| dx == 0.0));
    });
}

/// A shard may consist of padding only.
#[test]
fn a_batch_of_padding_gives_no_nan() {
    let case = Case { share: 0.0, ..Case::random([2, 3, 4], 0, 1) };
    each_device(|device| {
        let [y, rest @ .., _] = run(device, &case);
        assert!(y.iter().zip(case.shift.iter().cycle()).all(|(y, shift)| y == shift));
        assert!(rest.iter().flatten().all(|&gradient| gradient == 0.0), "{rest:?}");
    });
}

#[test]
fn nan_stays() {
    let mut case = Case::random([2, 3, 2], 2, 1);
    case.x[(1, 0)] = f32::NAN;
    each_device(|device| {
        let [y, dx, ..] = run(device, &case);
        assert!((0..6).all(|row| y[2 * row].is_nan() && dx[2 * row].is_nan()));
        assert!((0..6).all(|row| y[2 * row + 1].is_finite() && dx[2 * row + 1].is_finite()));
    });
}

/// x, scale and shift in one vector, so that all gradients are checked.
#[test]
fn the_reference_is_the_derivative() {
    let (rows, channels) = (6, 3);
    let parts = |values: &[f64]| {
        let (x, rest) = values.split_at(rows * channels);
        let (scale, shift) = rest.split_at(channels);
        let x = Array2::from_shape_vec((rows, channels), x.to_vec()).unwrap();
        (x, Array1::from(scale.to_vec()), Array1::from(shift.to_vec()))
    };
    let values: Array1<f32> = random_array(3, rows * channels + 2 * channels);
    central_differences(
        &wide(&values).to_vec(),
        |values| {
            let (x, scale, shift) = parts(values);
            let statistics = reference::statistics(&x);
            let y = reference::forward(0.01, &x, &scale, &shift, &statistics);
            y.iter().copied().collect()
        },
        |values, dy| {
            let (x, scale, _) = parts(values);
            let dy = Array2::from_shape_vec(x.dim(), dy.to_vec()).unwrap();
            let (dx, d_scale, d_shift) = reference::backward(0.01, &x, &scale, &dy);
            dx.iter().chain(&d_scale).chain(&d_shift).copied().collect()
        },
        Differences::F64,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_device_follows_the_reference(
        images in 2usize..6, pixels in 1usize..40, channels in 1usize..40, seed: u64,
    ) {
        let case = Case::random([images, pixels, channels], images, seed);
        let [x, dy] = [&case.x, &case.dy].map(wide);
        let [scale, shift] = [&case.scale, &case.shift].map(wide);
        let running = case.running.each_ref().map(wide);
        let epsilon = f64::from(EPSILON);
        let y = reference::forward(epsilon, &x, &scale, &shift, &reference::statistics(&x));
        let tested = reference::forward(epsilon, &x, &scale, &shift, &running);
        let (dx, d_scale, d_shift) = reference::backward(epsilon, &x, &scale, &dy);
        let moved = reference::running(f64::from(MOMENTUM), &x, &running);
        each_device(|device| {
            let [actual_y, actual_dx, scale, shift, mean, variance, actual_tested] =
                run(device, &case);
            close(&actual_y, &y, 1e-5);
            close(&actual_tested, &tested, 1e-5);
            // With two rows everything cancels.
            close_beside_one(&actual_dx, &dx, 1e-4);
            close(&scale, &d_scale, 1e-4);
            close(&shift, &d_shift, 1e-6);
            // An update at rate 1, for a shard whose share is one half.
            let after = |running: &Array1<f32>, step: &[f32]| -> Vec<f32> {
                running.iter().zip(step).map(|(running, step)| running - 2.0 * step).collect()
            };
            close(&after(&case.running[0], &mean), &moved[0], 1e-5);
            close(&after(&case.running[1], &variance), &moved[1], 1e-5);
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::random([40, 49, 37], 39, 5);
    same_bits_for_threads(|threads| run(&mut Device::cpu(threads), &case).concat());
}
