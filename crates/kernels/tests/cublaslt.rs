//! Linear layers through cuBLASLt, on the stand-ins for a GPU and for the library.

use alexnet_kernels::linear::{self, Geometry, reference};
use alexnet_kernels::operands::{BackwardInput, BackwardWeights, Forward};
use cuda_on_cpu::{Behaviour, CublasLtBehaviour, Unsupported};
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};
use std::cell::RefCell;
use std::sync::OnceLock;
use tensor::cublaslt::CublasLt;
use tensor::{Device, Precision, Recording, Shape, Slot};
use testkit::{Slots, bits_equal, close, own_gpu, random_array, stand_in_in_use};

/// The stand-in and the library as programs use it; `None` without a compiler, or on a real GPU,
/// whose streams the stand-in cannot use.
fn library() -> Option<&'static (cuda_on_cpu::CublasLt, &'static CublasLt)> {
    static LIBRARY: OnceLock<(cuda_on_cpu::CublasLt, &'static CublasLt)> = OnceLock::new();
    if stand_in_in_use().is_none() {
        eprintln!("SKIPPED: there is no stand-in for a GPU");
        return None;
    }
    let open = || {
        let stand_in = cuda_on_cpu::CublasLt::load().unwrap();
        let found = CublasLt::open(stand_in.path()).unwrap();
        (stand_in, found)
    };
    Some(LIBRARY.get_or_init(open))
}

/// A GPU that multiplies through the library, with default behaviour.
fn gpu() -> Option<(Device, &'static cuda_on_cpu::CublasLt)> {
    let (stand_in, library) = library()?;
    stand_in.behave(CublasLtBehaviour::default());
    let mut device = own_gpu()?;
    use_library(&mut device, library).unwrap();
    Some((device, stand_in))
}

fn use_library(device: &mut Device, library: &'static CublasLt) -> tensor::Result<()> {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU") };
    cuda.use_cublaslt(library)
}

fn set_precision(device: &mut Device, precision: Precision) {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU") };
    assert_eq!(cuda.set_precision(precision), precision);
}

struct Layer {
    g: Geometry,
    slots: Slots,
    /// x, w, b, dy; y, dx, dw, db; scratch.
    at: [Slot; 9],
}

impl Layer {
    fn new(g: Geometry, operands: &Operands, scratch: usize) -> Layer {
        let mut slots = Slots::new();
        let Operands { x, w, b, dy } = operands;
        let at = [
            slots.array(x),
            slots.array(w),
            slots.array(b),
            slots.array(dy),
            slots.room(Shape::from([g.images, g.outputs])),
            slots.room(Shape::from([g.images, g.inputs])),
            slots.room(Shape::from([g.outputs, g.inputs])),
            slots.room(Shape::from([g.outputs])),
            slots.room(Shape::from([scratch.max(g.scratch(tensor::Target::Cuda))])),
        ];
        Layer { g, slots, at }
    }

    fn passes(&self, device: &mut Device) -> tensor::Result<()> {
        let (g, [x, w, b, dy, y, dx, dw, db, scratch]) = (&self.g, self.at);
        linear::forward(device, g, Forward { x, w, b, y, scratch })?;
        linear::backward_input(device, g, BackwardInput { dy, w, dx, scratch })?;
        linear::backward_weights(device, g, BackwardWeights { x, dy, dw, db, scratch })
    }

    fn results(&self, device: &Device) -> tensor::Result<[Vec<f32>; 4]> {
        let [y, dx, dw, db] = [4, 5, 6, 7].map(|at| device.download(self.at[at]));
        Ok([y?, dx?, dw?, db?])
    }

    fn run(&self, device: &mut Device) -> tensor::Result<[Vec<f32>; 4]> {
        self.passes(device)?;
        self.results(device)
    }
}

struct Operands {
    x: Array2<f32>,
    w: Array2<f32>,
    b: Array1<f32>,
    dy: Array2<f32>,
}

impl Operands {
    fn random(g: &Geometry, seed: u64) -> Operands {
        Operands {
            x: random_array(seed, (g.images, g.inputs)),
            w: random_array(seed + 1, (g.outputs, g.inputs)),
            b: random_array(seed + 2, g.outputs),
            dy: random_array(seed + 3, (g.images, g.outputs)),
        }
    }

    /// Values that are exact in every precision.
    fn coarse(mut self) -> Operands {
        let coarse = |value: f32| f32::from_bits(value.to_bits() & 0xFFFF_0000);
        for array in [&mut self.x, &mut self.w, &mut self.dy] {
            array.mapv_inplace(coarse);
        }
        self
    }

    fn references(&self, g: &Geometry) -> [Vec<f32>; 4] {
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|array| array.view());
        let (dw, db) = reference::backward_weights(x, dy);
        [
            reference::forward(x, w, self.b.view(), g.relu).into_raw_vec_and_offset().0,
            reference::backward_input(dy, w).into_raw_vec_and_offset().0,
            dw.into_raw_vec_and_offset().0,
            db.into_raw_vec_and_offset().0,
        ]
    }
}

const G: Geometry = Geometry { images: 7, inputs: 33, outputs: 20, relu: true };

/// With a workspace and without; operands at any multiple of 64 bytes.
#[test]
fn all_passes_equal_the_reference() {
    let Some((device, stand_in)) = gpu() else { return };
    let device = RefCell::new(device);
    let sizes = || select(vec![1usize, 2, 3, 4, 7, 16, 20, 33, 64, 65, 70, 131]);
    let any = (sizes(), sizes(), sizes(), any::<bool>(), select(&Precision::ALL[..]), 0u64..1000);
    let any = (any, select(vec![0usize, 3000]));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(96));
    let checked =
        runner.run(&any, |((images, inputs, outputs, relu, precision, seed), scratch)| {
            let g = Geometry { images, inputs, outputs, relu };
            let operands = Operands::random(&g, seed).coarse();
            let layer = Layer::new(g, &operands, scratch);
            let device = &mut *device.borrow_mut();
            set_precision(device, precision);
            layer.slots.load(device);
            let before = stand_in.counts().products;
            let actual = layer.run(device).unwrap();
            prop_assert!(stand_in.counts().products >= before + 3);
            let terms = [inputs, outputs, images, images];
            for ((actual, expected), terms) in actual.iter().zip(operands.references(&g)).zip(terms)
            {
                close(actual, &expected, 8e-6 * (terms as f64).sqrt());
            }
            Ok(())
        });
    match checked {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{case:?}: {why}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// By hand: 1 + 2^-12 rounds to 1 in tf32, and so does 1 + 2^-9 in bf16.
#[test]
fn products_have_the_gpus_precision() {
    let Some((mut device, _)) = gpu() else { return };
    let g = Geometry { images: 1, inputs: 1, outputs: 2, relu: false };
    let (fine, coarse) = (1.0 + 1.0 / 4096.0, 1.0 + 1.0 / 512.0);
    let operands = Operands {
        x: Array2::ones((1, 1)),
        w: Array2::from_shape_vec((2, 1), vec![fine, coarse]).unwrap(),
        b: Array1::zeros(2),
        dy: Array2::ones((1, 2)),
    };
    let layer = Layer::new(g, &operands, 0);
    layer.slots.load(&mut device);
    for (precision, expected) in [
        (Precision::F32, [fine, coarse]),
        (Precision::Tf32, [1.0, coarse]),
        (Precision::Bf16, [1.0, 1.0]),
    ] {
        set_precision(&mut device, precision);
        assert_eq!(layer.run(&mut device).unwrap()[0], expected, "{precision}");
    }
}

/// A replayed step is bit-identical to one that was not recorded, reads its slots anew, and calls
/// neither the library nor the driver's allocator.
#[test]
fn a_replay_equals_eager_work() {
    let Some((mut device, stand_in)) = gpu() else { return };
    let driver = stand_in_in_use().unwrap();
    let layers = [5, 50].map(|seed| Layer::new(G, &Operands::random(&G, seed), 3000));
    let eager = layers.each_ref().map(|layer| {
        layer.slots.load(&mut device);
        layer.run(&mut device).unwrap()
    });
    let layer = &layers[0];
    layer.slots.load(&mut device);
    let mut recording = Recording::default();
    for (step, eager) in [0, 1, 0, 1].into_iter().zip(eager.iter().cycle()) {
        let Operands { x, w, b, dy } = Operands::random(&G, [5, 50][step]);
        let [at_x, at_w, at_b, at_dy] = [0, 1, 2, 3].map(|at| layer.at[at]);
        for (slot, values) in [(at_x, &x), (at_w, &w), (at_dy, &dy)] {
            device.upload(slot, values.as_slice().unwrap()).unwrap();
        }
        device.upload(at_b, b.as_slice().unwrap()).unwrap();
        let before = (stand_in.counts(), driver.counts()[0]);
        device.replay(&mut recording, |device| layer.passes(device)).unwrap();
        let after = (stand_in.counts(), driver.counts()[0]);
        if before.0.products > 9 {
            assert_eq!(after, before, "a replay asks for nothing");
        }
        for (actual, eager) in layer.results(&device).unwrap().iter().zip(eager) {
            bits_equal(actual, eager, "a replay");
        }
    }
}

/// A recording from before the library was selected is replaced.
#[test]
fn a_recording_is_invalid_once_the_library_is_used() {
    let Some((stand_in, library)) = library() else { return };
    let Some(mut device) = own_gpu() else { return };
    stand_in.behave(CublasLtBehaviour::default());
    let layer = Layer::new(G, &Operands::random(&G, 5), 0);
    layer.slots.load(&mut device);
    let mut recording = Recording::default();
    for expected in [0, 6] {
        device.replay(&mut recording, |device| layer.passes(device)).unwrap();
        assert_eq!(stand_in.counts().products, expected, "three were tried, and three recorded");
        use_library(&mut device, library).unwrap();
    }
}

/// Where the library has no algorithm, our own kernels are used.
#[test]
fn unsupported_products_use_our_kernels() {
    let Some((mut device, stand_in)) = gpu() else { return };
    let layer = Layer::new(G, &Operands::random(&G, 5), 0);
    let mut plain = own_gpu().unwrap();
    layer.slots.load(&mut plain);
    let expected = layer.run(&mut plain).unwrap();
    for how in [Unsupported::Status, Unsupported::NoneFound] {
        let unsupported = Some(how);
        use_library(&mut device, library().unwrap().1).unwrap(); // clears the cached algorithms
        stand_in.behave(CublasLtBehaviour { unsupported, ..Default::default() });
        layer.slots.load(&mut device);
        let actual = layer.run(&mut device).unwrap();
        assert_eq!(stand_in.counts().products, 0);
        actual
            .iter()
            .zip(&expected)
            .for_each(|(actual, own)| bits_equal(actual, own, "own kernels"));
    }
}

#[test]
fn each_failing_call_is_reported_and_nothing_leaks() {
    let Some((stand_in, library)) = library() else { return };
    let layer = Layer::new(G, &Operands::random(&G, 5), 0);
    let mut failing = 0;
    loop {
        failing += 1;
        let Some(mut device) = own_gpu() else { return };
        layer.slots.load(&mut device);
        let failing_call = Some(failing);
        stand_in.behave(CublasLtBehaviour { failing_call, ..Default::default() });
        let done = use_library(&mut device, library).and_then(|()| layer.run(&mut device));
        let calls = stand_in.counts().calls;
        drop(device);
        assert_eq!(stand_in.counts().alive, 0, "after call {failing}");
        let Err(error) = done else {
            assert_eq!(calls + 1, failing, "every call has failed once");
            break;
        };
        let error = error.to_string();
        assert!(error.starts_with("cuBLASLt's ") && error.ends_with("_INTERNAL_ERROR"), "{error}");
    }
    assert!(failing > 30);
}

#[test]
fn a_gpu_without_memory_for_a_trial_is_an_error() {
    let Some((mut device, _)) = gpu() else { return };
    let layer = Layer::new(G, &Operands::random(&G, 5), 0);
    layer.slots.load(&mut device);
    let driver = stand_in_in_use().unwrap();
    driver.behave(Behaviour { failing_allocation: Some(1), ..Behaviour::default() });
    let error = layer.run(&mut device).unwrap_err().to_string();
    assert!(error.starts_with("memory to try a product of cuBLASLt's on failed"), "{error}");
    driver.behave(Behaviour::default());
    layer.run(&mut device).unwrap();
}

#[test]
fn nan_propagates() {
    let Some((mut device, _)) = gpu() else { return };
    let mut operands = Operands::random(&G, 5);
    operands.x.fill(f32::NAN);
    let layer = Layer::new(G, &operands, 0);
    layer.slots.load(&mut device);
    let [y, _, dw, _] = layer.run(&mut device).unwrap();
    assert!(y.iter().chain(&dw).all(|value| value.is_nan()));
}
