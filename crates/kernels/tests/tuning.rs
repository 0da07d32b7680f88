//! Tuning: algorithms that are tried and timed, on the stand-ins for a GPU and for cuBLASLt, with a
//! clock that the tests control.

use alexnet_kernels::operands::{BackwardInput, BackwardWeights, Forward};
use alexnet_kernels::{conv, linear};
use cuda_on_cpu::{Behaviour, CublasLtBehaviour, StandIn};
use ndarray::{Array1, Array2, Array4};
use std::ffi::CString;
use tensor::cublaslt::CublasLt;
use tensor::tune::{Choices, ChosenBy, GpuAlgorithm, TunedOperation};
use tensor::{Cuda, Device, Precision, Recording, Shape, Slot, Target};
use testkit::{Slots, bits_equal, close, own_gpu, random_array, stand_in_in_use};

const G: linear::Geometry = linear::Geometry { images: 8, inputs: 512, outputs: 32, relu: true };
/// The tuner's name of G's forward pass, and its default algorithm.
const NAME: &str = "linear_forward 8 x 512 to 32, f32, room 512";
const RULE: GpuAlgorithm = GpuAlgorithm::Own { tile: [64; 2], slices: 2 };

const C: conv::Geometry = conv::Geometry {
    images: 2,
    height: 9,
    width: 9,
    channels: 8,
    filters: 6,
    window: (3, 3),
    stride: 2,
    pad: conv::Pad { top: 1, left: 1, bottom: 1, right: 1 },
    groups: 2,
    relu: false,
    algorithm: conv::Algorithm::Direct,
};

/// A GPU whose clock is set by `words`; `None` without a compiler, or on a real GPU.
fn gpu(words: &str) -> Option<(Device, &'static StandIn)> {
    let Some(stand_in) = stand_in_in_use() else {
        eprintln!("SKIPPED: there is no stand-in for a GPU");
        return None;
    };
    let device = own_gpu()?;
    pace(stand_in, words);
    Some((device, stand_in))
}

fn pace(stand_in: &StandIn, words: &str) {
    stand_in.pace(&CString::new(words).unwrap());
}

fn cuda(device: &mut Device) -> &mut Cuda {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU") };
    cuda
}

/// Adds the stand-in for cuBLASLt to the algorithms.
fn offer(device: &mut Device, behaviour: CublasLtBehaviour) {
    let stand_in = cuda_on_cpu::CublasLt::load().unwrap();
    stand_in.behave(behaviour);
    cuda(device).offer_cublaslt(CublasLt::open(stand_in.path()).unwrap()).unwrap();
}

/// Operands of all passes of a layer: x, w, b, dy; y, dx, dw, db; scratch.
struct Layer {
    slots: Slots,
    at: [Slot; 9],
    is_conv: bool,
}

impl Layer {
    fn linear(seed: u64) -> Layer {
        let x: Array2<f32> = random_array(seed, (G.images, G.inputs));
        let w: Array2<f32> = random_array(seed + 1, (G.outputs, G.inputs));
        let b: Array1<f32> = random_array(seed + 2, G.outputs);
        let dy: Array2<f32> = random_array(seed + 3, (G.images, G.outputs));
        let mut slots = Slots::new();
        let reads = [slots.array(&x), slots.array(&w), slots.array(&b), slots.array(&dy)];
        Layer::with(slots, reads, G.scratch(Target::Cuda), false)
    }

    fn conv(seed: u64) -> Layer {
        let x: Array4<f32> = random_array(seed, (2, 9, 9, 8));
        let w: Array4<f32> = random_array(seed + 1, (6, 3, 3, 4));
        let b: Array1<f32> = random_array(seed + 2, 6);
        let dy: Array4<f32> = random_array(seed + 3, (2, 5, 5, 6));
        let mut slots = Slots::new();
        let reads = [slots.array(&x), slots.array(&w), slots.array(&b), slots.array(&dy)];
        Layer::with(slots, reads, C.scratch(Target::Cuda), true)
    }

    fn with(mut slots: Slots, reads: [Slot; 4], scratch: usize, is_conv: bool) -> Layer {
        let [x, w, b, dy] = reads;
        let writes = [dy, x, w, b].map(|like| slots.room(like.shape()));
        let [y, dx, dw, db] = writes;
        let scratch = slots.room(Shape::from([scratch]));
        Layer { slots, at: [x, w, b, dy, y, dx, dw, db, scratch], is_conv }
    }

    fn forward(&self, device: &mut Device) -> tensor::Result<()> {
        let [x, w, b, _, y, .., scratch] = self.at;
        if !self.is_conv {
            linear::forward(device, &G, Forward { x, w, b, y, scratch })
        } else {
            conv::forward(device, &C, Forward { x, w, b, y, scratch })
        }
    }

    fn passes(&self, device: &mut Device) -> tensor::Result<()> {
        self.forward(device)?;
        let [x, w, _, dy, _, dx, dw, db, scratch] = self.at;
        if !self.is_conv {
            linear::backward_input(device, &G, BackwardInput { dy, w, dx, scratch })?;
            linear::backward_weights(device, &G, BackwardWeights { x, dy, dw, db, scratch })
        } else {
            conv::backward_input(device, &C, BackwardInput { dy, w, dx, scratch })?;
            conv::backward_filter(device, &C, BackwardWeights { x, dy, dw, db, scratch })
        }
    }

    fn results(&self, device: &Device) -> [Vec<f32>; 4] {
        [4, 5, 6, 7].map(|at| device.download(self.at[at]).unwrap())
    }

    /// The results of a GPU without any choice.
    fn by_rule(&self) -> [Vec<f32>; 4] {
        let mut device = own_gpu().unwrap();
        self.slots.load(&mut device);
        self.passes(&mut device).unwrap();
        self.results(&device)
    }
}

/// Rehearses the forward pass of G's layer with tuning.
fn tuned_forward(device: &mut Device) -> TunedOperation {
    let layer = Layer::linear(5);
    layer.slots.load(device);
    cuda(device).tune(Choices::new(), true);
    device.rehearse(|device| layer.forward(device)).unwrap();
    let mut tuned = cuda(device).tuned();
    assert_eq!(tuned.len(), 1);
    tuned.remove(0)
}

/// Algorithms with their milliseconds, and the rejected ones with the reason.
type Tried<'a> = (&'a [(GpuAlgorithm, f64)], &'a [(GpuAlgorithm, String)]);

fn tried(tuned: &TunedOperation) -> Tried<'_> {
    match &tuned.chosen_by {
        ChosenBy::Timing { tried, failed } => (tried, failed),
        other => panic!("{other:?}"),
    }
}

fn ms_of(tuned: &TunedOperation, wanted: &str) -> Option<f64> {
    tried(tuned).0.iter().find(|(algorithm, _)| algorithm.to_string() == wanted).map(|(_, ms)| *ms)
}

/// One slice takes 3 us, two take 50 us and their sum 10 us.
const ONE_SLICE: &str = "each=10 linear_forward_small=50 linear_forward_small/1=3";

#[test]
fn the_fastest_tiling_is_chosen_and_all_are_reported() {
    let Some((mut device, _)) = gpu(ONE_SLICE) else { return };
    let tuned = tuned_forward(&mut device);
    assert_eq!(
        (tuned.name.as_str(), tuned.algorithm),
        (NAME, GpuAlgorithm::Own { tile: [64; 2], slices: 1 })
    );
    let (all, failed) = tried(&tuned);
    assert_eq!(all[0].0, RULE, "the rule's comes first");
    assert_eq!(failed, []);
    let near = |ms: Option<f64>, expected: f64| (ms.unwrap() - expected).abs() < 1e-6;
    assert!(near(ms_of(&tuned, "own/64/2"), 0.060), "{all:?}");
    assert!(near(ms_of(&tuned, "own/64/1"), 0.003), "one slice has no sum: {all:?}");
    assert_eq!(ms_of(&tuned, "own/64/4"), None, "for which there is no scratch memory");
}

/// A difference within the clock's uncertainty does not replace the default.
#[test]
fn the_default_stays_unless_another_is_clearly_faster() {
    for (words, expected) in [
        ("each=10 linear_forward_small=990 linear_forward_small/1=999", RULE),
        (
            "each=10 linear_forward_small=999 linear_forward_small/1=980",
            GpuAlgorithm::Own { tile: [64; 2], slices: 1 },
        ),
    ] {
        let Some((mut device, _)) = gpu(words) else { return };
        assert_eq!(tuned_forward(&mut device).algorithm, expected, "{words}");
    }
}

#[test]
fn a_librarys_algorithms_are_tried_and_failing_or_wrong_ones_rejected() {
    let words = "each=10 linear_forward_small=100 cublaslt0=1 cublaslt1=2 cublaslt2=3 cublaslt3=4";
    let Some((mut device, _)) = gpu(words) else { return };
    let behaviour = CublasLtBehaviour {
        algorithms: Some(4),
        failing_algorithm: Some(0),
        wrong_algorithm: Some(1),
        ..Default::default()
    };
    offer(&mut device, behaviour);
    let tuned = tuned_forward(&mut device);
    assert_eq!(tuned.algorithm, GpuAlgorithm::Cublaslt(2));
    let ms = ms_of(&tuned, "cublaslt/2").unwrap();
    assert!((ms - 0.013).abs() < 1e-6, "with its bias: {ms}");
    let [(first, failed), (second, wrong)] = tried(&tuned).1 else { panic!("{tuned:?}") };
    assert_eq!((*first, *second), (GpuAlgorithm::Cublaslt(0), GpuAlgorithm::Cublaslt(1)));
    assert!(failed.contains("cuBLASLt's product") && failed.contains("NOT_SUPPORTED"), "{failed}");
    assert!(wrong.starts_with("it computes ") && wrong.contains(" instead of "), "{wrong}");
    assert_eq!(ms_of(&tuned, "cublaslt/1"), None);
}

#[test]
fn cudnns_algorithms_are_tried_and_missing_ones_rejected() {
    let words = "each=10 conv_forward_small=50 conv_backward_filter_small=50 cudnn1=20";
    let Some((mut device, _)) = gpu(words) else { return };
    offer_cudnn(&mut device);
    let layer = Layer::conv(7);
    layer.slots.load(&mut device);
    cuda(&mut device).tune(Choices::new(), true);
    device.rehearse(|device| layer.passes(device)).unwrap();
    let tuned = cuda(&mut device).tuned();
    let [forward, input, filter] = &tuned[..] else { panic!("{tuned:?}") };
    let own = GpuAlgorithm::Own { tile: [64; 2], slices: 1 };
    let algorithms = [forward.algorithm, input.algorithm, filter.algorithm];
    // The pass includes the biases' gradient, two more kernels: 40.
    let expected = [GpuAlgorithm::Cudnn(Some(1)), own, GpuAlgorithm::Cudnn(Some(1))];
    assert_eq!(algorithms, expected, "{tuned:?}");
    let left_out: Vec<String> =
        tried(forward).1.iter().map(|(algorithm, _)| algorithm.to_string()).collect();
    assert_eq!(left_out, ["cudnn/2", "cudnn/0"], "one is too large, and one fails");
    assert!(tried(forward).1.iter().all(|(_, why)| why == "it is not available after all"));
    // In bf16 cuDNN is not used.
    cuda(&mut device).set_precision(Precision::Bf16);
    cuda(&mut device).tune(Choices::new(), true);
    device.rehearse(|device| layer.passes(device)).unwrap();
    let tuned = cuda(&mut device).tuned();
    assert!(
        tuned.iter().all(|tuned| tried(tuned).1.is_empty() && tried(tuned).0.len() == 1),
        "{tuned:?}"
    );
}

fn offer_cudnn(device: &mut Device) {
    let stand_in = cuda_on_cpu::Cudnn::load().unwrap();
    stand_in.behave(cuda_on_cpu::CudnnBehaviour::default());
    cuda(device).offer_cudnn(tensor::cudnn::Cudnn::open(stand_in.path()).unwrap()).unwrap();
}

/// With every algorithm a pass matches the reference; and it is bit-identical when the algorithm is
/// read from choices, replayed or not.
#[test]
fn a_choice_read_back_is_bit_identical() {
    // So slow that nothing is tried more often than necessary.
    let Some((mut device, stand_in)) = gpu("each=100000") else { return };
    let behaviour = CublasLtBehaviour { algorithms: Some(3), ..Default::default() };
    for layer in [Layer::linear(5), Layer::conv(7)] {
        offer(&mut device, behaviour);
        offer_cudnn(&mut device);
        layer.slots.load(&mut device);
        cuda(&mut device).tune(Choices::new(), true);
        device.rehearse(|device| layer.passes(device)).unwrap();
        let tuned = cuda(&mut device).tuned();
        assert_eq!(tuned.len(), 3);
        let expected = layer.by_rule();
        let mut bits = Vec::new();
        for at in 0..tuned.iter().map(|tuned| tried(tuned).0.len()).max().unwrap() {
            let algorithm = |tuned: &TunedOperation| tried(tuned).0[at % tried(tuned).0.len()].0;
            let choices: Choices =
                tuned.iter().map(|tuned| (tuned.name.clone(), algorithm(tuned))).collect();
            let before = stand_in.counts()[1];
            cuda(&mut device).tune(choices.clone(), true);
            device.rehearse(|device| layer.passes(device)).unwrap();
            assert_eq!(stand_in.counts()[1], before, "nothing is launched for what is given");
            let again = cuda(&mut device).tuned();
            assert!(again.iter().all(|tuned| tuned.chosen_by == ChosenBy::File), "{again:?}");
            layer.passes(&mut device).unwrap();
            let eager = layer.results(&device);
            for (actual, expected) in eager.iter().zip(&expected) {
                let most = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                close(actual, expected, 1e-5 * f64::from(most));
            }
            layer.slots.load(&mut device);
            let mut recording = Recording::default();
            device.replay(&mut recording, |device| layer.passes(device)).unwrap();
            let replayed = layer.results(&device);
            replayed.iter().zip(&eager).for_each(|(a, b)| bits_equal(a, b, "a replay"));
            bits.push(eager);
        }
        let differ = bits.iter().any(|other| other[0] != bits[0][0]);
        assert!(differ, "algorithms decide bits, else this test compares nothing");
    }
}

#[test]
fn a_missing_algorithm_is_an_error() {
    let Some((mut device, _)) = gpu("each=10") else { return };
    let layer = Layer::linear(5);
    layer.slots.load(&mut device);
    for algorithm in ["cublaslt/0", "own/64/4", "own/32/1", "own/64/1000"] {
        let choices = Choices::from([(NAME.to_string(), algorithm.parse().unwrap())]);
        cuda(&mut device).tune(choices, false);
        let error = device.rehearse(|device| layer.forward(device)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{algorithm}` is not available for {NAME}")),
            "{error}"
        );
    }
}

/// Nothing is timed outside of rehearsals, nor after tuning.
#[test]
fn nothing_is_timed_while_work_runs_or_is_recorded() {
    let Some((mut device, stand_in)) = gpu(ONE_SLICE) else { return };
    let layer = Layer::linear(5);
    let expected = layer.by_rule();
    layer.slots.load(&mut device);
    let launches = |stand_in: &StandIn| stand_in.counts()[1];
    cuda(&mut device).tune(Choices::new(), true);
    let before = launches(stand_in);
    layer.passes(&mut device).unwrap();
    // A product and the sum of its slices; two products of one slice, and the bias gradient of one.
    assert_eq!(launches(stand_in) - before, 4);
    let tuned = cuda(&mut device).tuned();
    assert!(tuned.iter().all(|tuned| tuned.chosen_by == ChosenBy::Heuristic), "{tuned:?}");
    cuda(&mut device).tune(Choices::new(), true);
    cuda(&mut device).tuned();
    let mut recording = Recording::default();
    device.replay(&mut recording, |device| layer.passes(device)).unwrap();
    assert_eq!(launches(stand_in) - before, 9, "recorded, and one graph");
    let results = layer.results(&device);
    results.iter().zip(&expected).for_each(|(a, b)| bits_equal(a, b, "the default"));
}

/// Tuning does not change the GPU's memory, and recordings from before are replaced.
#[test]
fn tuning_changes_no_slot_and_invalidates_recordings() {
    let Some((mut device, stand_in)) = gpu(ONE_SLICE) else { return };
    let layer = Layer::linear(5);
    layer.slots.load(&mut device);
    let mut recording = Recording::default();
    device.replay(&mut recording, |device| layer.passes(device)).unwrap();
    let all = |device: &Device| layer.at.map(|slot| device.download::<f32>(slot).unwrap());
    let by_rule = all(&device);
    tune(&mut device, &layer).unwrap();
    for (after, before) in all(&device).iter().zip(&by_rule) {
        bits_equal(after, before, "a slot");
    }
    device.replay(&mut recording, |device| layer.passes(device)).unwrap();
    assert!(layer.results(&device)[0] != by_rule[4], "one slice, not two");

    stand_in.behave(Behaviour { failing_allocation: Some(1), ..Behaviour::default() });
    let error = tune(&mut device, &layer).unwrap_err().to_string();
    assert!(error.starts_with("memory to try algorithms on failed"), "{error}");
    stand_in.behave(Behaviour::default());
    tune(&mut device, &layer).unwrap();
}

fn tune(device: &mut Device, layer: &Layer) -> tensor::Result<()> {
    cuda(device).tune(Choices::new(), true);
    let done = device.rehearse(|device| layer.passes(device));
    cuda(device).tuned();
    done
}

/// Each precision has its own choices.
#[test]
fn names_contain_the_precision() {
    let words = "each=10 linear_forward_small=50 linear_forward_small/1=20 \
                 linear_forward_small_bf16=20 linear_forward_small_bf16/1=50";
    let Some((mut device, _)) = gpu(words) else { return };
    let f32 = tuned_forward(&mut device);
    cuda(&mut device).set_precision(Precision::Bf16);
    let bf16 = tuned_forward(&mut device);
    assert_eq!(
        [f32.algorithm, bf16.algorithm],
        [1, 2].map(|slices| GpuAlgorithm::Own { tile: [64; 2], slices })
    );
    assert_eq!(bf16.name, NAME.replace("f32", "bf16"));
}
