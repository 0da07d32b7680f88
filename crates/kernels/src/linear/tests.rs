use super::few_images::{self, Unit};
use super::{Geometry, backward_input, backward_weights, bf16, cpu, forward, reference};
use crate::gemm::amx::MatrixUnit;
use crate::gemm::{Isa, SharedFloats};
use crate::operands::{BackwardInput, BackwardWeights, Forward};
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use proptest::sample::select;
use pulp::{Scalar, WithSimd};
use tensor::{DType, Device, Planner, Pool, Shape, Target};
use testkit::{
    Expected, OpCase, Slots, bits_equal, cases, close, compare, each_cpu, each_device,
    random_array, same_bits_for_threads, same_bits_on_gpus,
};

/// The results of the three passes: y, dx, dw, db.
fn passes(device: &mut Device, g: &Geometry, seed: u64) -> [Vec<f32>; 4] {
    let mut slots = Slots::new();
    let x = slots.array(&random_array(seed, (g.images, g.inputs)));
    let w = slots.array(&random_array(seed + 1, (g.outputs, g.inputs)));
    let b = slots.array(&random_array(seed + 2, g.outputs));
    let dy = slots.array(&random_array(seed + 3, (g.images, g.outputs)));
    let y = slots.room(Shape::from([g.images, g.outputs]));
    let dx = slots.room(Shape::from([g.images, g.inputs]));
    let dw = slots.room(Shape::from([g.outputs, g.inputs]));
    let db = slots.room(Shape::from([g.outputs]));
    let scratch = slots.room(Shape::from([g.scratch(device.target())]));
    slots.load(device);
    forward(device, g, Forward { x, w, b, y, scratch }).unwrap();
    backward_input(device, g, BackwardInput { dy, w, dx, scratch }).unwrap();
    backward_weights(device, g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
    [y, dx, dw, db].map(|slot| device.download(slot).unwrap())
}

fn references(g: &Geometry, seed: u64) -> [Vec<f32>; 4] {
    let x: Array2<f32> = random_array(seed, (g.images, g.inputs));
    let w: Array2<f32> = random_array(seed + 1, (g.outputs, g.inputs));
    let b: Array1<f32> = random_array(seed + 2, g.outputs);
    let dy: Array2<f32> = random_array(seed + 3, (g.images, g.outputs));
    let (dw, db) = reference::backward_weights(x.view(), dy.view());
    [
        reference::forward(x.view(), w.view(), b.view(), g.relu).into_raw_vec_and_offset().0,
        reference::backward_input(dy.view(), w.view()).into_raw_vec_and_offset().0,
        dw.into_raw_vec_and_offset().0,
        db.into_raw_vec_and_offset().0,
    ]
}

/// Random operands, by their seed.
struct Case {
    g: Geometry,
    seed: u64,
}

impl OpCase<4> for Case {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 4] {
        passes(device, &self.g, self.seed)
    }

    /// Sums of terms of the order of one: the error of an f32 sum of K terms is about sqrt(K) eps,
    /// however small the sum.
    fn expected(&self) -> [Expected; 4] {
        let Case { g, seed } = self;
        let [y, dx, dw, db] = references(g, *seed);
        let sums = |name, values: &[f32], terms: usize| {
            Expected::beside_one(name, values, 8e-6 * (terms as f64).sqrt())
        };
        [
            sums("y", &y, g.inputs),
            sums("dx", &dx, g.outputs),
            sums("dw", &dw, g.images),
            sums("db", &db, g.images),
        ]
    }
}

/// By hand: x = [1 2], w = [[3 4] [-5 6]], b = [1 -8] give w x + b = [12 -1].
#[test]
fn known_answers() {
    let one = |g: &Geometry| {
        let mut device = Device::cpu(2);
        let mut planner = Planner::new();
        let mut slot = |n: usize| planner.claim(DType::F32, Shape::from([n]));
        let (x, w, b, y, s) =
            (slot(2), slot(4), slot(2), slot(2), slot(g.scratch(Target::Cpu { threads: 2 })));
        device.reserve(planner.total()).unwrap();
        device.upload(x, &[1.0f32, 2.0]).unwrap();
        device.upload(w, &[3.0f32, 4.0, -5.0, 6.0]).unwrap();
        device.upload(b, &[1.0f32, -8.0]).unwrap();
        forward(&mut device, g, Forward { x, w, b, y, scratch: s }).unwrap();
        device.download::<f32>(y).unwrap()
    };
    let g = Geometry { images: 1, inputs: 2, outputs: 2, relu: false };
    assert_eq!(one(&g), [12.0, -1.0]);
    assert_eq!(one(&Geometry { relu: true, ..g }), [12.0, 0.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 48)))]

    #[test]
    fn equals_the_reference(
        images in prop_oneof![1usize..10, 30usize..36, Just(70)],
        inputs in prop_oneof![1usize..40, 500usize..530, Just(257)],
        outputs in prop_oneof![1usize..40, 60usize..70, Just(263)],
        relu: bool,
        seed in 0u64..1000,
    ) {
        let case = Case { g: Geometry { images, inputs, outputs, relu }, seed };
        let expected = case.expected();
        each_cpu(|device| compare(&case.run_on(device), &expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 64)))]

    /// Tiles of both sizes, several of them, and edges that are not multiples of four.
    #[test]
    fn gpus_equal_the_reference(
        sizes in proptest::array::uniform3(select(
            vec![1, 2, 3, 4, 7, 16, 20, 33, 64, 65, 70, 131]
        )),
        relu: bool,
        seed in 0u64..1000,
    ) {
        let [images, inputs, outputs] = sizes;
        // The stand-in for a GPU is slow.
        prop_assume!(images * inputs * outputs < 131 * 131 * 20);
        Case { g: Geometry { images, inputs, outputs, relu }, seed }.check_on_gpus();
    }
}

/// k in slices, whose sums are in scratch memory: in each of the three passes.
#[test]
fn gpus_add_slices() {
    for (images, inputs, outputs) in [(3, 1027, 66), (2, 8, 600), (1030, 5, 6)] {
        let g = Geometry { images, inputs, outputs, relu: true };
        assert!(g.scratch(Target::Cuda) > 0);
        let expected = references(&g, 4);
        same_bits_on_gpus(|device| {
            let results = passes(device, &g, 4);
            results
                .iter()
                .zip(&expected)
                .for_each(|(actual, expected)| close(actual, expected, 2e-4));
            results.concat()
        });
    }
}

/// Both transposed products: <dy, x w^T> = <dx, x> = <dw, w>.
#[test]
fn gradients_are_adjoint() {
    let g = Geometry { images: 5, inputs: 37, outputs: 19, relu: false };
    each_device(|device| {
        let x: Array2<f32> = random_array(7, (g.images, g.inputs));
        let w: Array2<f32> = random_array(8, (g.outputs, g.inputs));
        let b: Array1<f32> = random_array(9, g.outputs);
        let dy: Array2<f32> = random_array(10, (g.images, g.outputs));
        let [y, dx, dw, db] = passes(device, &g, 7);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let dy = dy.as_slice().unwrap();
        let bias = dot(&db, b.as_slice().unwrap());
        let whole = dot(dy, &y);
        assert!((whole - bias - dot(&dx, x.as_slice().unwrap())).abs() < 1e-3);
        assert!((whole - bias - dot(&dw, w.as_slice().unwrap())).abs() < 1e-3);
    });
}

#[test]
fn results_depend_on_neither_threads_nor_instructions() {
    let g = Geometry { images: 33, inputs: 1030, outputs: 300, relu: true };
    same_bits_for_threads(|threads| passes(&mut Device::cpu(threads), &g, 3).concat());

    let x: Array2<f32> = random_array(3, (g.images, g.inputs));
    let w: Array2<f32> = random_array(4, (g.outputs, g.inputs));
    let b: Array1<f32> = random_array(5, g.outputs);
    let dy: Array2<f32> = random_array(6, (g.images, g.outputs));
    let [x, w, dy] = [&x, &w, &dy].map(|array| array.as_slice().unwrap());
    let pool = Pool::new(2);
    let on = |isa: Isa| {
        let mut scratch = vec![f32::NAN; 2 * g.scratch(Target::Cpu { threads: 2 })];
        let mut y = vec![0.0; g.images * g.outputs];
        let mut dx = vec![0.0; g.images * g.inputs];
        let mut dw = vec![0.0; g.outputs * g.inputs];
        let scratch = &mut scratch[..];
        let (b, db) = (b.as_slice().unwrap(), &mut []);
        cpu::forward_with(isa, &pool, &g, Forward { x, w, b, y: &mut y, scratch });
        cpu::backward_input_with(isa, &pool, &g, BackwardInput { dy, w, dx: &mut dx, scratch });
        let operands = BackwardWeights { x, dy, dw: &mut dw[..], db, scratch };
        cpu::backward_weights_with(isa, &pool, &g, operands);
        [y, dx, dw].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let best = on(Isa::best());
    for isa in Isa::available() {
        assert!(on(isa) == best, "{isa:?}");
    }
}

/// In bf16: AMX, if available, and its twin; any number of threads; weights stored or not.
#[test]
fn bf16_is_bit_identical_for_threads_and_hardware() {
    for (images, inputs, outputs) in [(33, 1030, 300), (1, 40, 130), (40, 7, 1), (5, 97, 129)] {
        let g = Geometry { images, inputs, outputs, relu: true };
        let x: Array2<f32> = random_array(3, (g.images, g.inputs));
        let w: Array2<f32> = random_array(4, (g.outputs, g.inputs));
        let b: Array1<f32> = random_array(5, g.outputs);
        let dy: Array2<f32> = random_array(6, (g.images, g.outputs));
        let [x, w, dy] = [&x, &w, &dy].map(|array| array.as_slice().unwrap());
        let b = b.as_slice().unwrap();
        let on = |unit: MatrixUnit, threads: usize| {
            let pool = Pool::new(threads);
            let mut scratch = vec![f32::NAN; g.scratch(Target::CpuBf16 { threads })];
            let mut y = vec![f32::NAN; g.images * g.outputs];
            let mut dx = vec![f32::NAN; g.images * g.inputs];
            let mut dw = vec![f32::NAN; g.outputs * g.inputs];
            let (db, scratch) = (&mut [], &mut scratch[..]);
            let rows = bf16::Weights::Rows(w);
            bf16::forward(unit, &pool, &g, rows, Forward { x, w, b, y: &mut y, scratch });
            let mut stored = vec![u16::MAX; bf16::stored_len(&g)];
            bf16::store_weights(&pool, &g, w, &mut stored);
            let mut again = vec![f32::NAN; y.len()];
            let stored = bf16::Weights::Stored(&stored);
            scratch.fill(f32::NAN);
            bf16::forward(unit, &pool, &g, stored, Forward { x, w, b, y: &mut again, scratch });
            bits_equal(&again, &y, "stored weights");
            bf16::backward_input(unit, &pool, &g, BackwardInput { dy, w, dx: &mut dx, scratch });
            let operands = BackwardWeights { x, dy, dw: &mut dw[..], db, scratch };
            bf16::backward_weights(unit, &pool, &g, operands);
            [y, dx, dw].concat()
        };
        same_bits_for_threads(|threads| on(MatrixUnit::best(), threads));
        bits_equal(&on(MatrixUnit::best(), 2), &on(MatrixUnit::Twin, 2), "the twin");
    }
}

/// Results in bf16 by AMX's twin, to compare vector widths.
pub(crate) fn by_the_twin(g: &Geometry) -> [(&'static str, Vec<f32>); 3] {
    let Geometry { images, inputs, outputs, .. } = *g;
    let [x, w, dy] = [(1, images * inputs), (2, outputs * inputs), (4, images * outputs)]
        .map(|(seed, len)| crate::tests::numbers(seed, len));
    let (b, pool) = (crate::tests::numbers(3, outputs), Pool::new(2));
    let mut scratch = vec![f32::NAN; g.scratch(Target::CpuBf16 { threads: 2 })];
    let [mut y, mut dx, mut dw] = [&dy, &x, &w].map(|like| vec![f32::NAN; like.len()]);
    let (unit, scratch, db) = (MatrixUnit::Twin, &mut scratch[..], &mut []);
    let (x, w, b, dy) = (&x[..], &w[..], &b[..], &dy[..]);
    let rows = bf16::Weights::Rows(w);
    bf16::forward(unit, &pool, g, rows, Forward { x, w, b, y: &mut y[..], scratch });
    bf16::backward_input(unit, &pool, g, BackwardInput { dy, w, dx: &mut dx[..], scratch });
    let operands = BackwardWeights { x, dy, dw: &mut dw[..], db, scratch };
    bf16::backward_weights(unit, &pool, g, operands);
    [("y", y), ("dx", dx), ("dw", dw)]
}

/// The algorithm for few images is bit-identical for any vectors, threads and number of images.
#[test]
fn few_images_are_bit_identical() {
    let most = Geometry { images: 8, inputs: 1031, outputs: 75, relu: true };
    let x: Array2<f32> = random_array(3, (most.images, most.inputs));
    let w: Array2<f32> = random_array(4, (most.outputs, most.inputs));
    let b: Array1<f32> = random_array(5, most.outputs);
    let [x, w] = [&x, &w].map(|array| array.as_slice().unwrap());
    let b = b.as_slice().unwrap();

    let mut expected = vec![f32::NAN; most.images * most.outputs];
    let y = SharedFloats::new(&mut expected);
    Unit { g: &most, x, w, b, y, first: 0 }.with_simd(Scalar::new());
    for images in 1..=most.images {
        let g = Geometry { images, ..most };
        assert!(few_images::suits(&g));
        same_bits_for_threads(|threads| {
            let mut y = vec![f32::NAN; images * g.outputs];
            let x = &x[..images * g.inputs];
            let operands = Forward { x, w, b, y: &mut y[..], scratch: &mut [] };
            few_images::forward(&Pool::new(threads), &g, operands);
            bits_equal(&y, &expected[..images * g.outputs], &format!("{images} images"));
            y
        });
    }
    assert!(!few_images::suits(&Geometry { images: most.images + 1, ..most }));
}

#[test]
fn nan_propagates() {
    for images in [2, 20] {
        check_nan(images);
    }
}

fn check_nan(images: usize) {
    let g = Geometry { images, inputs: 3, outputs: 4, relu: true };
    each_device(|device| {
        let mut slots = Slots::new();
        let x = slots.array(&Array2::<f32>::from_elem((images, 3), f32::NAN));
        let w = slots.array(&random_array(1, (4, 3)));
        let b = slots.array(&random_array(2, 4));
        let y = slots.room(Shape::from([images, 4]));
        let scratch = slots.room(Shape::from([g.scratch(device.target())]));
        slots.load(device);
        forward(device, &g, Forward { x, w, b, y, scratch }).unwrap();
        assert!(device.download::<f32>(y).unwrap().iter().all(|y| y.is_nan()));
    });
}
