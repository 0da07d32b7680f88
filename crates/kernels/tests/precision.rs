//! Convolutions and fully connected layers in tf32 and bf16 on every device: operands are rounded,
//! and errors are not larger than that rounding and f32 sums explain.

use alexnet_kernels::operands::{BackwardInput, BackwardWeights, Forward};
use alexnet_kernels::stored::StoredWeights;
use alexnet_kernels::{conv, linear};
use ndarray::{Array, Array1, Array2, Array4, Dimension};
use proptest::prelude::*;
use proptest::sample::select;
use tensor::{Device, Precision, Target};
use testkit::{Slots, bits_equal, cases, each_cpu, each_gpu, random_array, wide};

/// Precisions whose errors are bounded here; each op's own tests bound those of f32.
const REDUCED: [Precision; 2] = [Precision::Tf32, Precision::Bf16];

/// A processor that stores weights in bf16.
const BF16: Target = Target::CpuBf16 { threads: 1 };

/// y, dx, dw and db.
type Results<T> = [Vec<T>; 4];

/// A convolution or fully connected layer with its operands x, w, b and dy.
trait Case {
    /// The number of terms of the sum in an element of y, dx, dw and db.
    fn terms(&self) -> [usize; 4];
    /// The results in f64, in plain loops. `change` is applied to every element of x, w and dy, and
    /// of the bias if `also_bias`.
    fn reference(&self, change: &dyn Fn(f64) -> f64, also_bias: bool) -> Results<f64>;
    /// The results of the device's kernels.
    fn run(&self, device: &mut Device) -> Results<f32>;
}

/// x rounded to the precision's number of bits. Computed with arithmetic, to be independent of the
/// stand-in for a GPU, which uses bit operations.
fn rounded(precision: Precision, x: f64) -> f64 {
    if x == 0.0 || precision == Precision::F32 {
        return x;
    }
    let bits = if precision == Precision::Tf32 { 10 } else { 7 };
    let step = (x.abs().log2().floor() - f64::from(bits)).exp2();
    match precision {
        Precision::Tf32 => (x / step).round() * step, // ties away from zero
        _ => (x / step).round_ties_even() * step,
    }
}

/// The maximum error of an f32 sum of `terms` terms, relative to the sum of their magnitudes: one
/// unit in the last place for each addition, as tensor cores may truncate instead of rounding; and
/// 8 more units for the bias, for slices of k, and for the result.
fn f32_error(terms: usize) -> f64 {
    (terms + 8) as f64 * f64::from(f32::EPSILON)
}

/// The results of a case in f64, which are the same for every device.
struct Exact {
    /// Of the magnitudes of all operands.
    magnitudes: Results<f64>,
    exact: Results<f64>,
    /// Of operands rounded to each of [`REDUCED`].
    of_rounded: [Results<f64>; 2],
}

impl Exact {
    fn of(case: &dyn Case) -> Exact {
        let exact = case.reference(&|x| x, false);
        let of_rounded = REDUCED.map(|precision| {
            let mut results = case.reference(&|x| rounded(precision, x), false);
            results[3].clone_from(&exact[3]);
            results
        });
        Exact { magnitudes: case.reference(&f64::abs, true), exact, of_rounded }
    }
}

/// Checks a case on each device in each of the reduced precisions.
fn check_reduced(case: &dyn Case) {
    let exact = Exact::of(case);
    on_devices(&REDUCED, |device, precision| check(case, &exact, precision, device));
}

/// Asserts the bound that [`Precision`] documents, and a tighter one: results differ from f64 sums
/// over rounded operands only by the errors of f32. db is a sum without products, so its terms are
/// not rounded.
fn check(
    case: &dyn Case,
    Exact { magnitudes, exact, of_rounded }: &Exact,
    precision: Precision,
    device: &mut Device,
) {
    let of_rounded = &of_rounded[REDUCED.iter().position(|&it| it == precision).unwrap()];
    let u = precision.unit();
    let actual = case.run(device);
    for (idx, name) in ["y", "dx", "dw", "db"].into_iter().enumerate() {
        let f32_error = f32_error(case.terms()[idx]);
        for (i, &actual) in actual[idx].iter().enumerate() {
            let (magnitude, actual) = (magnitudes[idx][i], f64::from(actual));
            let expected = [exact[idx][i], of_rounded[idx][i]];
            let errors = expected.map(|expected| (actual - expected).abs());
            let relative = [2.0 * u + u * u + f32_error, f32_error * (1.0 + u) * (1.0 + u)];
            let bounds = relative.map(|bound| bound * magnitude);
            assert!(
                errors[0] <= bounds[0] && errors[1] <= bounds[1],
                "{precision}: {name}[{i}] is {actual}; errors {errors:?} exceed {bounds:?}"
            );
        }
    }
}

/// Runs `test` on each device in each of these precisions that it supports. CPUs compute bf16 even
/// without AMX: they emulate it.
fn on_devices(precisions: &[Precision], mut test: impl FnMut(&mut Device, Precision)) {
    each_cpu(|device| {
        for &precision in precisions.iter().filter(|&&precision| precision != Precision::Tf32) {
            let Device::Cpu(cpu) = &mut *device else { unreachable!("a CPU") };
            match precision {
                Precision::Bf16 => cpu.emulate_bf16(),
                _ => cpu.set_precision(precision).unwrap(),
            }
            test(device, precision);
        }
    });
    each_gpu(|device| {
        for &precision in precisions {
            let Device::Cuda(cuda) = &mut *device else { unreachable!("a GPU") };
            if cuda.set_precision(precision) == precision {
                test(device, precision);
            }
        }
        if let Device::Cuda(cuda) = device {
            cuda.set_precision(Precision::F32); // other tests of this thread use it
        }
    });
}

/// `a` in f64, with `change` applied to every element.
fn changed<D: Dimension>(a: &Array<f32, D>, change: &dyn Fn(f64) -> f64) -> Array<f64, D> {
    wide(a).mapv(change)
}

struct Linear {
    g: linear::Geometry,
    x: Array2<f32>,
    w: Array2<f32>,
    b: Array1<f32>,
    dy: Array2<f32>,
}

impl Linear {
    fn random(g: linear::Geometry, seed: u64) -> Linear {
        Linear {
            g,
            x: random_array(seed, (g.images, g.inputs)),
            w: random_array(seed + 1, (g.outputs, g.inputs)),
            b: random_array(seed + 2, g.outputs),
            dy: random_array(seed + 3, (g.images, g.outputs)),
        }
    }
}

impl Case for Linear {
    fn terms(&self) -> [usize; 4] {
        [self.g.inputs, self.g.outputs, self.g.images, self.g.images]
    }

    /// Has no ReLU, as all cases have `relu: false`: a ReLU does not change errors.
    fn reference(&self, change: &dyn Fn(f64) -> f64, also_bias: bool) -> Results<f64> {
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|a| changed(a, change));
        let b = if also_bias { changed(&self.b, change) } else { wide(&self.b) };
        let vec = |a: Array2<f64>| a.as_standard_layout().iter().copied().collect::<Vec<f64>>();
        let db = dy.sum_axis(ndarray::Axis(0)).to_vec();
        [vec(x.dot(&w.t()) + b), vec(dy.dot(&w)), vec(dy.t().dot(&x)), db]
    }

    fn run(&self, device: &mut Device) -> Results<f32> {
        let g = &self.g;
        let mut slots = Slots::new();
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|a| slots.array(a));
        let b = slots.array(&self.b);
        let (y, dx) = (slots.room([g.images, g.outputs]), slots.room([g.images, g.inputs]));
        let (dw, db) = (slots.room([g.outputs, g.inputs]), slots.room([g.outputs]));
        let scratch = slots.room([g.scratch(device.target())]);
        let stored = slots.room_in_bf16([g.stored_len(device.target())]);
        let y_stored = slots.room([g.images, g.outputs]);
        slots.load(device);
        linear::forward(device, g, Forward { x, w, b, y, scratch }).unwrap();
        if !stored.is_empty() {
            let weights = StoredWeights::Linear(*g);
            weights.store(device, self.w.as_slice().unwrap(), stored).unwrap();
            let operands = Forward { x, w: stored, b, y: y_stored, scratch };
            linear::forward(device, g, operands).unwrap();
            let [y, again] = [y, y_stored].map(|y| device.download(y).unwrap());
            bits_equal(&again, &y, "stored weights");
        }
        linear::backward_input(device, g, BackwardInput { dy, w, dx, scratch }).unwrap();
        linear::backward_weights(device, g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
        [y, dx, dw, db].map(|slot| device.download(slot).unwrap())
    }
}

struct Conv {
    g: conv::Geometry,
    x: Array4<f32>,
    w: Array4<f32>,
    b: Array1<f32>,
    dy: Array4<f32>,
}

impl Conv {
    fn random(g: conv::Geometry) -> Conv {
        let w = (g.filters, g.window.0, g.window.1, g.channels / g.groups);
        Conv {
            g,
            x: random_array(1, (g.images, g.height, g.width, g.channels)),
            w: random_array(2, w),
            b: random_array(3, g.filters),
            dy: random_array(4, (g.images, g.out_height(), g.out_width(), g.filters)),
        }
    }
}

impl Case for Conv {
    fn terms(&self) -> [usize; 4] {
        let g = &self.g;
        let pixels = g.images * g.out_height() * g.out_width();
        let window = g.window.0 * g.window.1;
        [window * g.channels / g.groups, window * g.filters / g.groups, pixels, pixels]
    }

    fn reference(&self, change: &dyn Fn(f64) -> f64, also_bias: bool) -> Results<f64> {
        let g = &self.g;
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|a| changed(a, change));
        let b = if also_bias { changed(&self.b, change) } else { wide(&self.b) };
        let y = conv::reference::forward(g, x.view(), w.view(), b.view());
        let dx = conv::reference::backward_input(g, dy.view(), w.view());
        let (dw, db) = conv::reference::backward_filter(g, x.view(), dy.view());
        let vec = |a: Array4<f64>| a.into_raw_vec_and_offset().0;
        [vec(y), vec(dx), vec(dw), db.to_vec()]
    }

    fn run(&self, device: &mut Device) -> Results<f32> {
        let g = &self.g;
        let mut slots = Slots::new();
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|a| slots.array(a));
        let b = slots.array(&self.b);
        let (y, dx) = (slots.room(g.out_shape()), slots.room(g.in_shape()));
        let (dw, db) = (slots.room(g.filter_shape()), slots.room([g.filters]));
        let scratch = slots.room([g.scratch(device.target())]);
        let stored = slots.room_in_bf16([g.stored_len(device.target())]);
        let y_stored = slots.room(g.out_shape());
        slots.load(device);
        conv::forward(device, g, Forward { x, w, b, y, scratch }).unwrap();
        if !stored.is_empty() {
            let weights = StoredWeights::Conv(*g);
            weights.store(device, self.w.as_slice().unwrap(), stored).unwrap();
            let operands = Forward { x, w: stored, b, y: y_stored, scratch };
            conv::forward(device, g, operands).unwrap();
            let [y, again] = [y, y_stored].map(|y| device.download(y).unwrap());
            bits_equal(&again, &y, "stored filters");
        }
        conv::backward_input(device, g, BackwardInput { dy, w, dx, scratch }).unwrap();
        conv::backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
        [y, dx, dw, db].map(|slot| device.download(slot).unwrap())
    }
}

prop_compose! {
    fn convolution()(
        (images, groups, stride) in (1usize..=2, 1usize..=3, 1usize..=4),
        window in (1usize..=5, 1usize..=5),
        pad in (0usize..=3, 0usize..=3, 0usize..=3, 0usize..=3),
        (channels, filters) in (select(vec![1, 2, 3, 4, 8, 12]), select(vec![1, 2, 3, 4, 8, 20])),
        (height, width) in (1usize..=8, 1usize..=11),
        wide in select(vec![false, false, false, true]),
    ) -> conv::Geometry {
        let pad = conv::Pad { top: pad.0, bottom: pad.1, left: pad.2, right: pad.3 };
        let (filters, groups) = if wide { (68 + filters, 1) } else { (filters, groups) };
        conv::Geometry {
            images,
            height: height.max(window.0.saturating_sub(pad.top + pad.bottom)),
            width: width.max(window.1.saturating_sub(pad.left + pad.right)),
            channels: channels * groups,
            filters: filters * groups,
            window,
            stride,
            pad,
            groups,
            relu: false,
            algorithm: conv::Algorithm::Fastest,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 64)))]

    #[test]
    fn linear_layers_have_only_rounding_errors(
        sizes in proptest::array::uniform3(select(
            vec![1, 2, 3, 4, 7, 16, 20, 33, 64, 65, 70, 131]
        )),
        seed in 0u64..1000,
    ) {
        let [images, inputs, outputs] = sizes;
        prop_assume!(images * inputs * outputs < 131 * 131 * 20);
        let g = linear::Geometry { images, inputs, outputs, relu: false };
        check_reduced(&Linear::random(g, seed));
    }

    #[test]
    fn convolutions_have_only_rounding_errors(g in convolution()) {
        check_reduced(&Conv::random(g));
    }
}

/// Products large enough for k in slices or blocks, and for tiles of 128 x 128, in each of the
/// three passes. NaN in x makes y and dw NaN.
#[test]
fn large_products_and_nan() {
    for (images, inputs, outputs) in [(66, 70, 67), (2, 515, 66), (520, 5, 6)] {
        let g = linear::Geometry { images, inputs, outputs, relu: false };
        let mut case = Linear::random(g, 4);
        check_reduced(&case);
        case.x.fill(f32::NAN);
        on_devices(&REDUCED, |device, precision| {
            let [y, _, dw, _] = case.run(device);
            assert!(y.iter().chain(&dw).all(|value| value.is_nan()), "{precision}");
        });
    }
}

/// Small versions of AlexNet's layers: few channels and a large stride; groups whose channels do
/// not fill whole tiles; and more images than are convolved at once. Only on CPUs, as the stand-in
/// for a GPU is slow.
#[test]
fn layers_like_alexnets() {
    let conv1 = conv::Geometry {
        images: 3,
        height: 47,
        width: 47,
        channels: 3,
        filters: 40,
        window: (11, 11),
        stride: 4,
        pad: conv::Pad { bottom: 3, right: 3, ..conv::Pad::none() },
        groups: 1,
        relu: false,
        algorithm: conv::Algorithm::Fastest,
    };
    let conv2 = conv::Geometry {
        images: 2,
        height: 9,
        width: 9,
        channels: 96,
        filters: 72,
        window: (5, 5),
        stride: 1,
        pad: conv::Pad::same(2),
        groups: 2,
        ..conv1
    };
    let many = conv::Geometry { images: 35, height: 5, width: 4, window: (3, 3), ..conv2 };
    for g in [conv1, conv2, many] {
        let case = Conv::random(g);
        let exact = Exact::of(&case);
        each_cpu(|device| {
            let Device::Cpu(cpu) = &mut *device else { unreachable!("a CPU") };
            cpu.emulate_bf16();
            check(&case, &exact, Precision::Bf16, device);
        });
    }
}

/// A GPU has no kernels for weights in bf16: a plan with them is refused.
#[test]
fn gpus_refuse_stored_weights() {
    let g = linear::Geometry { images: 1, inputs: 2, outputs: 3, relu: false };
    each_gpu(|device| {
        let mut slots = Slots::new();
        let [x, b, y, scratch] = [2, 3, 3, 1].map(|n| slots.room([n]));
        let w = slots.room_in_bf16([g.stored_len(BF16)]);
        slots.load(device);
        let errors = [
            StoredWeights::Linear(g).store(device, &[0.0; 6], w),
            linear::forward(device, &g, Forward { x, w, b, y, scratch }),
        ];
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("linear layers with bf16 weights"), "{error}");
        }
    });
}

/// Detects a kernel that does not round its operands: except in f32, most elements must have larger
/// errors than f32 sums have.
#[test]
fn operands_are_rounded() {
    let g = linear::Geometry { images: 66, inputs: 20, outputs: 20, relu: false };
    let conv = conv::Geometry {
        images: 2,
        height: 6,
        width: 7,
        channels: 8,
        filters: 8,
        window: (2, 2),
        stride: 1,
        pad: conv::Pad::same(1),
        groups: 2,
        relu: false,
        algorithm: conv::Algorithm::Fastest,
    };
    let both: [&dyn Case; 2] = [&Linear::random(g, 9), &Conv::random(conv)];
    let cases = both.map(|case| (case, Exact::of(case)));
    on_devices(&Precision::ALL, |device, precision| {
        for (case, Exact { exact, magnitudes, .. }) in &cases {
            let actual = case.run(device);
            for idx in 0..3 {
                let f32_error = f32_error(case.terms()[idx]);
                let larger = (0..actual[idx].len()).filter(|&i| {
                    let error = (f64::from(actual[idx][i]) - exact[idx][i]).abs();
                    error > f32_error * magnitudes[idx][i]
                });
                let share = larger.count() as f64 / actual[idx].len() as f64;
                match precision {
                    Precision::F32 => assert_eq!(share, 0.0, "pass {idx}"),
                    _ => assert!(share > 0.5, "{precision}, pass {idx}: only {share}"),
                }
            }
        }
    });
}
