//! Convolutions through cuDNN, on the stand-ins for a GPU and for the library.

use alexnet_kernels::conv::{self, Algorithm, Geometry, Pad, reference};
use alexnet_kernels::operands::{BackwardInput, BackwardWeights, Forward};
use cuda_on_cpu::{Behaviour, CudnnBehaviour, Unsupported};
use ndarray::{Array1, Array4};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};
use std::cell::RefCell;
use std::sync::OnceLock;
use tensor::cudnn::Cudnn;
use tensor::{Device, Precision, Recording, Slot, Target};
use testkit::{Slots, bits_equal, close, own_gpu, random_array, stand_in_in_use, wide};

/// The stand-in and the library as programs use it; `None` without a compiler, or on a real GPU,
/// whose streams the stand-in cannot use.
fn library() -> Option<&'static (cuda_on_cpu::Cudnn, &'static Cudnn)> {
    static LIBRARY: OnceLock<(cuda_on_cpu::Cudnn, &'static Cudnn)> = OnceLock::new();
    if stand_in_in_use().is_none() {
        eprintln!("SKIPPED: there is no stand-in for a GPU");
        return None;
    }
    let open = || {
        let stand_in = cuda_on_cpu::Cudnn::load().unwrap();
        let found = Cudnn::open(stand_in.path()).unwrap();
        (stand_in, found)
    };
    Some(LIBRARY.get_or_init(open))
}

/// A GPU that convolves through the library, with default behaviour.
fn gpu() -> Option<(Device, &'static cuda_on_cpu::Cudnn)> {
    let (stand_in, library) = library()?;
    stand_in.behave(CudnnBehaviour::default());
    let mut device = own_gpu()?;
    use_library(&mut device, library).unwrap();
    Some((device, stand_in))
}

fn use_library(device: &mut Device, library: &'static Cudnn) -> tensor::Result<()> {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU") };
    cuda.use_cudnn(library)
}

fn set_precision(device: &mut Device, precision: Precision) {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU") };
    assert_eq!(cuda.set_precision(precision), precision);
}

struct Operands {
    x: Array4<f32>,
    w: Array4<f32>,
    b: Array1<f32>,
    dy: Array4<f32>,
}

impl Operands {
    fn random(g: &Geometry, seed: u64) -> Operands {
        let w = (g.filters, g.window.0, g.window.1, g.channels / g.groups);
        Operands {
            x: random_array(seed, (g.images, g.height, g.width, g.channels)),
            w: random_array(seed + 1, w),
            b: random_array(seed + 2, g.filters),
            dy: random_array(seed + 3, (g.images, g.out_height(), g.out_width(), g.filters)),
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

    fn references(&self, g: &Geometry) -> [Vec<f64>; 4] {
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(wide);
        let y = reference::forward(g, x.view(), w.view(), wide(&self.b).view());
        let dx = reference::backward_input(g, dy.view(), w.view());
        let (dw, db) = reference::backward_filter(g, x.view(), dy.view());
        let vec = |array: Array4<f64>| array.into_raw_vec_and_offset().0;
        [vec(y), vec(dx), vec(dw), db.to_vec()]
    }
}

struct Layer {
    g: Geometry,
    slots: Slots,
    /// x, w, b, dy; y, dx, dw, db; scratch.
    at: [Slot; 9],
}

impl Layer {
    fn new(g: Geometry, operands: &Operands) -> Layer {
        let mut slots = Slots::new();
        let Operands { x, w, b, dy } = operands;
        let at = [
            slots.array(x),
            slots.array(w),
            slots.array(b),
            slots.array(dy),
            slots.room(g.out_shape()),
            slots.room(g.in_shape()),
            slots.room(g.filter_shape()),
            slots.room([g.filters]),
            slots.room([g.scratch(Target::Cuda)]),
        ];
        Layer { g, slots, at }
    }

    fn passes(&self, device: &mut Device) -> tensor::Result<()> {
        let (g, [x, w, b, dy, y, dx, dw, db, scratch]) = (&self.g, self.at);
        conv::forward(device, g, Forward { x, w, b, y, scratch })?;
        conv::backward_input(device, g, BackwardInput { dy, w, dx, scratch })?;
        conv::backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch })
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

const G: Geometry = Geometry {
    images: 3,
    height: 7,
    width: 9,
    channels: 6,
    filters: 10,
    window: (3, 3),
    stride: 1,
    pad: Pad { top: 1, bottom: 1, left: 1, right: 1 },
    groups: 2,
    relu: true,
    algorithm: Algorithm::Fastest,
};

prop_compose! {
    fn geometry()(
        (images, groups, stride, relu) in (1usize..=3, 1usize..=3, 1usize..=4, any::<bool>()),
        window in (1usize..=5, 1usize..=5),
        (top, left) in (0usize..=4, 0usize..=4),
        (more_below, more_right) in (select(vec![0usize, 0, 1, 3]), select(vec![0usize, 0, 1, 3])),
        (channels, filters) in (select(vec![1usize, 2, 3, 5, 8]), select(vec![1usize, 2, 7, 16])),
        (height, width) in (1usize..=12, 1usize..=12),
    ) -> Geometry {
        let pad = Pad { top, left, bottom: top + more_below, right: left + more_right };
        let (channels, filters) = (channels * groups, filters * groups);
        let (height, width) = (height.max(window.0), width.max(window.1));
        let algorithm = Algorithm::Fastest;
        Geometry {
            images, height, width, channels, filters, window, stride, pad, groups, relu, algorithm,
        }
    }
}

/// Whether equal padding on opposite sides gives the same output size, so that cuDNN can be used.
fn is_even(g: &Geometry) -> bool {
    let Pad { top, left, .. } = g.pad;
    let even = Geometry { pad: Pad { top, left, bottom: top, right: left }, ..*g };
    (even.out_height(), even.out_width()) == (g.out_height(), g.out_width())
}

#[test]
fn all_passes_equal_the_reference() {
    let Some((device, stand_in)) = gpu() else { return };
    let device = RefCell::new(device);
    use Precision::{Bf16, F32, Tf32};
    let any = (geometry(), select(vec![F32, Tf32, F32, Tf32, Bf16]), 0u64..1000);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let checked = runner.run(&any, |(g, precision, seed)| {
        let operands = Operands::random(&g, seed).coarse();
        let layer = Layer::new(g, &operands);
        let device = &mut *device.borrow_mut();
        set_precision(device, precision);
        layer.slots.load(device);
        let before = stand_in.counts().convolutions;
        let actual = layer.run(device).unwrap();
        let ours = precision == Bf16 || !is_even(&g);
        // Each pass is tried and then used, unless an earlier case was equal.
        let convolutions = stand_in.counts().convolutions - before;
        let expected = if ours { 0..=0 } else { 3..=6 };
        prop_assert!(expected.contains(&convolutions), "{convolutions} of cuDNN's");
        for (actual, expected) in actual.iter().zip(operands.references(&g)) {
            close(actual, &expected, 2e-5);
        }
        Ok(())
    });
    match checked {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{case:?}: {why}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// By hand: 1 + 2^-12 rounds to 1 in tf32, and so does 1 + 2^-9 in bf16, where our kernels are
/// used.
#[test]
fn passes_have_the_gpus_precision() {
    let Some((mut device, stand_in)) = gpu() else { return };
    let one = Geometry { images: 1, height: 1, width: 1, channels: 1, filters: 2, ..G };
    let g = Geometry { window: (1, 1), pad: Pad::none(), groups: 1, relu: false, ..one };
    let (fine, coarse) = (1.0 + 1.0 / 4096.0, 1.0 + 1.0 / 512.0);
    let operands = Operands {
        x: Array4::ones((1, 1, 1, 1)),
        w: Array4::from_shape_vec((2, 1, 1, 1), vec![fine, coarse]).unwrap(),
        b: Array1::zeros(2),
        dy: Array4::ones((1, 1, 1, 2)),
    };
    let layer = Layer::new(g, &operands);
    layer.slots.load(&mut device);
    for (precision, expected, convolutions) in [
        (Precision::F32, [fine, coarse], 6),
        (Precision::Tf32, [1.0, coarse], 12),
        (Precision::Bf16, [1.0, 1.0], 12),
    ] {
        set_precision(&mut device, precision);
        assert_eq!(layer.run(&mut device).unwrap()[0], expected, "{precision}");
        assert_eq!(stand_in.counts().convolutions, convolutions, "{precision}");
    }
}

/// A replayed step is bit-identical to one that was not recorded, reads its slots anew, and calls
/// neither the library nor the driver's allocator.
#[test]
fn a_replay_equals_eager_work() {
    let Some((mut device, stand_in)) = gpu() else { return };
    let driver = stand_in_in_use().unwrap();
    let layers = [5, 50].map(|seed| Layer::new(G, &Operands::random(&G, seed)));
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
        if before.0.convolutions > 9 {
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
    stand_in.behave(CudnnBehaviour::default());
    let layer = Layer::new(G, &Operands::random(&G, 5));
    layer.slots.load(&mut device);
    let mut recording = Recording::default();
    for expected in [0, 6] {
        device.replay(&mut recording, |device| layer.passes(device)).unwrap();
        assert_eq!(stand_in.counts().convolutions, expected, "three tried, and three recorded");
        use_library(&mut device, library).unwrap();
    }
}

/// Where the library has no algorithm, our own kernels are used.
#[test]
fn unsupported_convolutions_use_our_kernels() {
    let Some((mut device, stand_in)) = gpu() else { return };
    let layer = Layer::new(G, &Operands::random(&G, 5));
    let mut plain = own_gpu().unwrap();
    layer.slots.load(&mut plain);
    let expected = layer.run(&mut plain).unwrap();
    for how in [Unsupported::Status, Unsupported::NoneFound, Unsupported::OnUse] {
        let unsupported = Some(how);
        use_library(&mut device, library().unwrap().1).unwrap(); // clears the cached algorithms
        stand_in.behave(CudnnBehaviour { unsupported, ..Default::default() });
        layer.slots.load(&mut device);
        let actual = layer.run(&mut device).unwrap();
        assert_eq!(stand_in.counts().convolutions, 0);
        actual
            .iter()
            .zip(&expected)
            .for_each(|(actual, own)| bits_equal(actual, own, "own kernels"));
    }
}

#[test]
fn each_failing_call_is_reported_and_nothing_leaks() {
    let Some((stand_in, library)) = library() else { return };
    let layer = Layer::new(G, &Operands::random(&G, 5));
    let mut failing = 0;
    loop {
        failing += 1;
        let Some(mut device) = own_gpu() else { return };
        layer.slots.load(&mut device);
        let failing_call = Some(failing);
        stand_in.behave(CudnnBehaviour { failing_call, ..Default::default() });
        let done = use_library(&mut device, library).and_then(|()| layer.run(&mut device));
        let calls = stand_in.counts().calls;
        drop(device);
        assert_eq!(stand_in.counts().alive, 0, "after call {failing}");
        let Err(error) = done else {
            assert_eq!(calls + 1, failing, "every call has failed once");
            break;
        };
        let error = error.to_string();
        let rest = "ended with CUDNN_STATUS_INTERNAL_ERROR";
        assert!(error.starts_with("cuDNN cannot be used: ") && error.ends_with(rest), "{error}");
    }
    assert!(failing > 40);
}

/// There is no memory for a trial, or for the workspace.
#[test]
fn a_gpu_without_memory_is_an_error() {
    let Some((mut device, _)) = gpu() else { return };
    let layer = Layer::new(G, &Operands::random(&G, 5));
    layer.slots.load(&mut device);
    let driver = stand_in_in_use().unwrap();
    let full = Behaviour { failing_allocation: Some(1), ..Behaviour::default() };
    driver.behave(full);
    let error = layer.run(&mut device).unwrap_err().to_string();
    assert!(error.starts_with("memory to try a convolution of cuDNN's on failed"), "{error}");
    driver.behave(full);
    let error = use_library(&mut device, library().unwrap().1).unwrap_err().to_string();
    assert!(error.starts_with("memory for cuDNN's workspace failed"), "{error}");
    driver.behave(Behaviour::default());
    use_library(&mut device, library().unwrap().1).unwrap();
    layer.run(&mut device).unwrap();
}

/// cuDNN reads 16 bytes at a time: it is not used for operands with another alignment.
#[test]
fn unaligned_operands_use_our_kernels() {
    let Some((mut device, stand_in)) = gpu() else { return };
    let operands = Operands::random(&G, 5);
    let mut layer = Layer::new(G, &operands);
    let shifted = layer.slots.room([G.in_shape().len() + 1]);
    layer.at[0] = shifted.part(1, G.in_shape());
    layer.slots.load(&mut device);
    device.upload(layer.at[0], operands.x.as_slice().unwrap()).unwrap();
    let actual = layer.run(&mut device).unwrap();
    let counts = stand_in.counts();
    assert_eq!(counts.convolutions, 2, "the input's gradient reads no x: one trial and one pass");
    for (actual, expected) in actual.iter().zip(operands.references(&G)) {
        close(actual, &expected, 2e-5);
    }
}

#[test]
fn nan_propagates() {
    let Some((mut device, _)) = gpu() else { return };
    let mut operands = Operands::random(&G, 5);
    operands.x.fill(f32::NAN);
    let layer = Layer::new(G, &operands);
    layer.slots.load(&mut device);
    let [y, _, dw, _] = layer.run(&mut device).unwrap();
    assert!(y.iter().chain(&dw).all(|value| value.is_nan()));
}
