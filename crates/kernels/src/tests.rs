//! Every op is bit-identical with AVX-512, with AVX2 and in portable code, and to the digests that
//! were recorded in `widths.txt` before denormal results were flushed; and no op writes a denormal
//! number.
//!
//! The vector width of a process is fixed, so each width runs in a separate process, which prints a
//! digest of each result. Operands are multiples of 2^-23, generated without library functions.

use crate::conv::{self, Algorithm, Pad};
use crate::operands::{BackwardInput, BackwardWeights, Forward};
use crate::simd::flushed;
use crate::value::Value;
use crate::{
    activation, adam, average, batch_norm, bf16, clip, columns, dropout, layer_norm, linear,
};
use crate::{local, lrn, lrn_pool, pool, prelu, preprocess, sgd, softmax_loss};
use random::{Purpose, Stream};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;
use tensor::{Bf16, Device, Shape, Slot, Vectors};
use testkit::{Slots, each_gpu};

const RECORDED: &str = include_str!("widths.txt");

/// Scales values below one to denormal numbers and the smallest normal ones.
const TINY: f32 = f32::MIN_POSITIVE * 4.0;

/// Runs ops and stores their results by name.
struct Run<'a> {
    device: &'a mut Device,
    /// A bit for each of four operands that is scaled by [`TINY`]; the fifth has the first's.
    tiny: u32,
    results: Vec<(String, Vec<f32>)>,
}

impl Run<'_> {
    fn all(device: &mut Device, tiny: u32) -> Vec<(String, Vec<f32>)> {
        let mut run = Run { device, tiny, results: Vec::new() };
        products(&mut run);
        elementwise(&mut run);
        normalized(&mut run);
        first_and_last(&mut run);
        later_updates(&mut run);
        run.results
    }

    fn op(&self) -> Op {
        Op { slots: Slots::new(), tiny: self.tiny, seed: 0 }
    }

    fn load(&mut self, op: &Op) -> &mut Device {
        op.slots.load(self.device);
        self.device
    }

    fn add<const N: usize>(&mut self, name: &str, results: [(&'static str, Slot); N]) {
        let results =
            results.map(|(name, slot)| (name, self.device.download::<f32>(slot).unwrap()));
        self.add_floats(name, results);
    }

    fn add_floats<const N: usize>(&mut self, name: &str, results: [(&'static str, Vec<f32>); N]) {
        for (result, floats) in results {
            let name = format!("{name} {result}");
            assert!(floats.iter().all(|x| x.is_finite()), "{name}: {floats:?}");
            self.results.push((name, floats));
        }
    }

    /// On a CPU, checks that `op` writes into a bf16 slot what it has written into `y`, rounded.
    fn check_in_bf16(
        &mut self,
        y: Slot,
        in_bf16: Slot,
        op: impl FnOnce(&mut Device, Slot) -> tensor::Result<()>,
    ) {
        if let Device::Cpu(_) = self.device {
            op(self.device, in_bf16).unwrap();
            let y: Vec<f32> = self.device.download(y).unwrap();
            let y: Vec<Bf16> = y.into_iter().map(Bf16::rounded).collect();
            assert_eq!(self.device.download::<Bf16>(in_bf16).unwrap(), y);
        }
    }

    /// AMX's twin runs on the CPU only, and flushes within sums.
    fn has_twin(&self) -> bool {
        self.tiny == 0 && matches!(self.device, Device::Cpu(_))
    }
}

/// One line per result: the digest of its bits (FNV-1a), and its name.
fn digests(results: &[(String, Vec<f32>)]) -> String {
    let mut lines = String::new();
    for (name, floats) in results {
        let bytes = floats.iter().flat_map(|x| x.to_bits().to_le_bytes());
        let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        writeln!(lines, "{digest:016x} {name}").expect("a string takes all");
    }
    lines
}

/// Values in [-1, 1).
pub(crate) fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut draws = Stream::new(seed, Purpose::Test, 0, 0);
    (0..len).map(|_| 2.0 * draws.unit() - 1.0).collect()
}

fn positive(seed: u64, len: usize) -> Vec<f32> {
    numbers(seed, len).into_iter().map(|x| 1.0 + x).collect()
}

/// Operands of one op.
struct Op {
    slots: Slots,
    tiny: u32,
    seed: u64,
}

impl Op {
    /// An operand with new values.
    fn operand(&mut self, shape: impl Into<Shape>) -> Slot {
        let shape = shape.into();
        let values = self.values(shape.len());
        self.slots.floats(shape, values)
    }

    /// The values of a new operand.
    fn values(&mut self, count: usize) -> Vec<f32> {
        let place = self.seed % 4;
        self.seed += 1;
        let mut numbers = numbers(self.seed, count);
        if self.tiny >> place & 1 == 1 {
            // Operands are never denormal, as no op writes such numbers.
            numbers.iter_mut().for_each(|x| *x = flushed(*x * TINY));
        }
        numbers
    }

    fn room(&mut self, shape: impl Into<Shape>) -> Slot {
        self.slots.room(shape)
    }
}

/// Compares all widths that the processor supports, and the recorded digests. A child process that
/// has to print its digests has the variable set.
#[test]
fn results_depend_on_no_vector_width_and_match_the_recorded_digests() {
    const CHILD: &str = "KERNELS_TEST_DIGESTS";
    if std::env::var_os(CHILD).is_some() {
        let digests = digests(&Run::all(&mut Device::cpu(2), 0));
        print!("\nvectors {}\n{digests}", Vectors::limit().name());
        let (all, recorded) = (digests.lines().count(), RECORDED.lines().count());
        assert_eq!(all, recorded, "every result has a recorded digest");
        return;
    }
    let program = std::env::current_exe().unwrap();
    for vectors in Vectors::ALL {
        if !vectors.are_here() {
            eprintln!("SKIPPED: this processor has no {}", vectors.name());
            continue;
        }
        let test = "tests::results_depend_on_no_vector_width_and_match_the_recorded_digests";
        let mut command = Command::new(&program);
        command.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
        let output = command.env(Vectors::VARIABLE, vectors.name()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let said = format!("vectors {}\n", vectors.name());
        let (_, printed) = printed.split_once(&said).expect("the width that was asked for");
        let printed: Vec<&str> = printed.lines().take(RECORDED.lines().count()).collect();
        let differing: Vec<String> = RECORDED
            .lines()
            .zip(&printed)
            .filter(|(recorded, line)| recorded != *line)
            .map(|(recorded, line)| format!("{line}, recorded {recorded}"))
            .collect();
        assert!(differing.is_empty(), "{}:\n{}", vectors.name(), differing.join("\n"));
    }
}

/// Whether x is neither zero nor normal.
fn denormal(x: f32) -> bool {
    x != 0.0 && x.abs() < f32::MIN_POSITIVE
}

/// No result is denormal, whichever operands are tiny. Nine of ten results come close to the
/// smallest normal number for some operands.
#[test]
fn no_op_writes_a_denormal_number() {
    let check = |results: &[(String, Vec<f32>)], tiny: u32| {
        for (name, floats) in results {
            let found = floats.iter().find(|x| denormal(**x));
            assert!(found.is_none(), "{name}, operands {tiny:04b}: {found:?}");
        }
    };
    let (mut names, mut near) = (BTreeSet::new(), BTreeSet::new());
    for tiny in 1..16 {
        let results = Run::all(&mut Device::cpu(2), tiny);
        check(&results, tiny);
        for (name, floats) in results {
            if floats.iter().any(|x| *x != 0.0 && x.abs() < 4.0 * TINY) {
                near.insert(name.clone());
            }
            names.insert(name);
        }
    }
    let far: Vec<_> = names.difference(&near).collect();
    assert!(10 * far.len() < names.len(), "never near the smallest number: {far:#?}");
    // Only x and the biases, then the gradients, are tiny: in a GPU's kernels these reach every
    // store. The stand-in runs each order of threads, and is slow.
    let mut turns = [0b0101, 0b1000].into_iter().cycle();
    each_gpu(|device| {
        let tiny = turns.next().expect("a cycle has no end");
        check(&Run::all(device, tiny), tiny);
    });
}

/// Convolutions by every algorithm, locally connected and linear layers.
fn products(run: &mut Run<'_>) {
    let plain = conv::Geometry {
        images: 2,
        height: 7,
        width: 9,
        channels: 18,
        filters: 34,
        window: (3, 3),
        stride: 1,
        pad: Pad::same(1),
        groups: 1,
        relu: true,
        algorithm: Algorithm::Direct,
    };
    let wide = conv::Geometry { window: (5, 5), pad: Pad::same(2), ..plain };
    let first = conv::Geometry {
        images: 1,
        height: 31,
        width: 33,
        channels: 3,
        window: (11, 11),
        stride: 4,
        pad: Pad { top: 1, bottom: 2, left: 0, right: 3 },
        ..plain
    };
    let strided = conv::Geometry { stride: 2, groups: 2, relu: false, ..plain };
    for (name, g) in
        [("3x3", plain), ("5x5", wide), ("11x11 stride 4", first), ("3x3 stride 2 groups", strided)]
    {
        convolution(run, &format!("conv {name} direct"), &g);
        let g = conv::Geometry { algorithm: Algorithm::Winograd, ..g };
        convolution(run, &format!("conv {name} winograd"), &g);
    }
    let g = conv::Geometry { groups: 2, algorithm: Algorithm::Winograd, ..plain };
    convolution(run, "conv 3x3 groups winograd", &g);
    if run.has_twin() {
        let g = conv::Geometry { images: 1, height: 5, channels: 6, ..plain };
        run.add_floats("conv 3x3 bf16", conv::tests::by_the_twin(&g));
        let g = conv::Geometry { images: 1, ..strided };
        run.add_floats("conv 3x3 stride 2 groups bf16", conv::tests::by_the_twin(&g));
    }

    let windows = conv::Geometry {
        images: 3,
        height: 6,
        width: 7,
        channels: 6,
        filters: 18,
        window: (3, 3),
        stride: 1,
        pad: Pad::same(1),
        groups: 2,
        relu: true,
        algorithm: Algorithm::Direct,
    };
    let g = local::Geometry { windows };
    let mut op = run.op();
    let (x, w) = (op.operand(g.in_shape()), op.operand(g.filter_shape()));
    let (b, dy) = (op.operand(g.bias_shape()), op.operand(g.out_shape()));
    let [y, dx, dw, db] =
        [g.out_shape(), g.in_shape(), g.filter_shape(), g.bias_shape()].map(|s| op.room(s));
    let scratch = op.room([g.scratch(run.device.target())]);
    let device = run.load(&op);
    local::forward(device, &g, Forward { x, w, b, y, scratch }).unwrap();
    local::backward_input(device, &g, BackwardInput { dy, w, dx, scratch }).unwrap();
    local::backward_filter(device, &g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
    run.add("local", [("y", y), ("dx", dx), ("dw", dw), ("db", db)]);

    for (images, inputs, outputs) in [(1, 555, 75), (6, 555, 75), (9, 520, 270), (260, 20, 18)] {
        let g = linear::Geometry { images, inputs, outputs, relu: true };
        let mut op = run.op();
        let (x, w) = (op.operand([images, g.inputs]), op.operand([g.outputs, g.inputs]));
        let (b, dy) = (op.operand([g.outputs]), op.operand([images, g.outputs]));
        let (y, dx) = (op.room([images, g.outputs]), op.room([images, g.inputs]));
        let (dw, db) = (op.room([g.outputs, g.inputs]), op.room([g.outputs]));
        let scratch = op.room([g.scratch(run.device.target())]);
        let device = run.load(&op);
        linear::forward(device, &g, Forward { x, w, b, y, scratch }).unwrap();
        linear::backward_input(device, &g, BackwardInput { dy, w, dx, scratch }).unwrap();
        linear::backward_weights(device, &g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
        let results = [("y", y), ("dx", dx), ("dw", dw), ("db", db)];
        run.add(&format!("linear {inputs} to {outputs}, of {images}"), results);
    }
    if run.has_twin() {
        let g = linear::Geometry { images: 3, inputs: 70, outputs: 33, relu: true };
        run.add_floats("linear bf16", linear::tests::by_the_twin(&g));
    }
}

fn convolution(run: &mut Run<'_>, name: &str, g: &conv::Geometry) {
    let mut op = run.op();
    let (x, w) = (op.operand(g.in_shape()), op.operand(g.filter_shape()));
    let (b, dy) = (op.operand([g.filters]), op.operand(g.out_shape()));
    let [y, again, dx, dw] =
        [g.out_shape(), g.out_shape(), g.in_shape(), g.filter_shape()].map(|s| op.room(s));
    let (db, packed) = (op.room([g.filters]), op.room([g.packed_len(run.device.target())]));
    let scratch = op.room([g.scratch(run.device.target())]);
    let device = run.load(&op);
    conv::forward(device, g, Forward { x, w, b, y, scratch }).unwrap();
    conv::pack_weights(device, g, w, packed, scratch).unwrap();
    let operands = Forward { x, w, b, y: again, scratch };
    conv::forward_packed(device, g, operands, packed).unwrap();
    conv::backward_input(device, g, BackwardInput { dy, w, dx, scratch }).unwrap();
    conv::backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
    let results = [("y", y), ("packed y", again), ("dx", dx), ("dw", dw), ("db", db)];
    run.add(name, results);
}

/// Layers without weights, and PReLU.
fn elementwise(run: &mut Run<'_>) {
    use activation::Activation;
    const LEN: usize = 1003;
    for (name, kind) in [
        ("relu", Activation::Relu),
        ("tanh", Activation::Tanh { outer: 1.7, inner: 0.66 }),
        ("logistic", Activation::Logistic),
        ("leaky relu", Activation::LeakyRelu { slope: 0.1 }),
        ("gelu", Activation::Gelu),
    ] {
        let mut op = run.op();
        let (x, dy) = (op.operand([LEN]), op.operand([LEN]));
        let (y, dx) = (op.room([LEN]), op.room([LEN]));
        let kept = if kind.reads_input() { x } else { y };
        let device = run.load(&op);
        activation::forward(device, kind, x, y).unwrap();
        activation::backward(device, kind, kept, dy, dx).unwrap();
        run.add(name, [("y", y), ("dx", dx)]);
        if kind == Activation::Relu {
            activation::mask_by_relu(run.device, x, dy).unwrap();
            run.add(name, [("dy", dy)]);
        }
    }

    let g = prelu::Geometry { rows: 150, channels: 21 };
    let mut op = run.op();
    let [x, dy, y, dx] = [true, true, false, false].map(|is_read| {
        if is_read { op.operand([g.rows, g.channels]) } else { op.room([g.rows, g.channels]) }
    });
    let (a, da, scratch) = (op.operand([21]), op.room([21]), op.room([g.scratch()]));
    let device = run.load(&op);
    prelu::forward(device, &g, x, a, y).unwrap();
    prelu::backward_input(device, &g, x, a, dy, dx).unwrap();
    prelu::backward_slopes(device, &g, x, dy, da, scratch).unwrap();
    run.add("prelu", [("y", y), ("dx", dx), ("da", da)]);

    for (name, reduction) in [
        ("max pool", pool::Reduction::Max { ties: pool::Ties::All }),
        ("max pool, first", pool::Reduction::Max { ties: pool::Ties::First }),
        ("average pool", pool::Reduction::Average),
    ] {
        let g = maps(reduction);
        let mut op = run.op();
        let (x, dy) = (op.operand(g.in_shape()), op.operand(g.out_shape()));
        let (y, dx) = (op.room(g.out_shape()), op.room(g.in_shape()));
        let in_bf16 = op.slots.room_in_bf16(g.out_shape());
        pool::forward(run.load(&op), &g, x, y).unwrap();
        run.check_in_bf16(y, in_bf16, |device, y| pool::forward(device, &g, x, y));
        pool::backward(run.device, &g, x, y, dy, dx).unwrap();
        run.add(name, [("y", y), ("dx", dx)]);
        if pool::fits_in_place(reduction) {
            pool::backward_in_place(run.device, &g, true, y, dy, x).unwrap();
            run.add(name, [("x", x)]);
        }
    }

    for (name, columns) in [
        ("dropout", None),
        ("dropout of columns", Some(dropout::Columns { width: 25, first: 3, whole: 61 })),
    ] {
        let scaling = dropout::Scaling::Inverted;
        let g = dropout::Geometry { units: 1000, layer: 2, drop: 0.4, scaling, columns };
        let mut op = run.op();
        let clock = op.slots.words([3], vec![7, 0, 11]);
        let (x, y, tested) = (op.operand([1000]), op.room([1000]), op.room([1000]));
        let device = run.load(&op);
        dropout::forward(device, &g, clock, x, y).unwrap();
        let paper = dropout::Geometry { scaling: dropout::Scaling::Paper, ..g };
        dropout::at_test(device, &paper, x, tested).unwrap();
        run.add(name, [("y", y), ("at test", tested)]);
    }

    let g = columns::Geometry {
        rows: 40,
        count: 19,
        x: columns::ColumnRange { width: 30, first: 4 },
        y: columns::ColumnRange { width: 25, first: 6 },
    };
    let mut op = run.op();
    let (x, y, copied) = (op.operand([40, 30]), op.operand([40, 25]), op.operand([40, 25]));
    let device = run.load(&op);
    columns::add(device, &g, x, y).unwrap();
    columns::copy(device, &g, x, copied).unwrap();
    run.add("columns", [("added", y), ("copied", copied)]);

    let mut op = run.op();
    let (x, y, z) = (op.operand([LEN]), op.operand([LEN]), op.operand([LEN]));
    let packed = op.room([bf16::packed_len(LEN)]);
    let device = run.load(&op);
    bf16::pack(device, x, packed).unwrap();
    bf16::add_packed(device, packed, y).unwrap();
    bf16::add_rounded(device, x, z).unwrap();
    run.add("bf16", [("added", y), ("rounded", z)]);
}

fn maps(reduction: pool::Reduction) -> pool::Geometry {
    let (images, height, width, channels) = (2, 9, 12, 43);
    pool::Geometry {
        images,
        height,
        width,
        channels,
        reduction,
        window: 3,
        stride: 2,
        pad: 0,
        ceil: false,
    }
}

/// LRN, batch and layer normalisation.
fn normalized(run: &mut Run<'_>) {
    let pooled = maps(pool::Reduction::Max { ties: pool::Ties::All });
    let pool::Geometry { images, height, width, channels, .. } = pooled;
    for (name, beta) in [("0.75", 0.75), ("0.5", 0.5), ("1", 1.0), ("0.6", 0.6)] {
        for (region_name, region, size) in [
            ("across", lrn::Region::AcrossChannels { towers: 1 }, 5),
            ("within", lrn::Region::WithinChannel, 3),
            ("widely within", lrn::Region::WithinChannel, 11),
        ] {
            let (alpha, k, divide_alpha) = (0.3, 2.0, false);
            let g = lrn::Geometry {
                images,
                height,
                width,
                channels,
                region,
                size,
                alpha,
                beta,
                k,
                divide_alpha,
            };
            let mut op = run.op();
            let (x, dy) = (op.operand(g.shape()), op.operand(g.shape()));
            let (y, dx) = (op.room(g.shape()), op.room(g.shape()));
            let device = run.load(&op);
            lrn::forward(device, &g, x, y).unwrap();
            lrn::backward(device, &g, x, dy, dx).unwrap();
            let name = format!("lrn {region_name}, beta {name}");
            run.add(&name, [("y", y), ("dx", dx)]);
            if region_name == "across" {
                let g = lrn_pool::Geometry { lrn: g, pool: pooled, relu: true };
                let mut op = run.op();
                let (x, dy) = (op.operand(pooled.in_shape()), op.operand(pooled.out_shape()));
                let y = op.room(pooled.out_shape());
                let in_bf16 = op.slots.room_in_bf16(pooled.out_shape());
                lrn_pool::forward(run.load(&op), &g, x, y).unwrap();
                run.check_in_bf16(y, in_bf16, |device, y| lrn_pool::forward(device, &g, x, y));
                lrn_pool::backward_in_place(run.device, &g, y, dy, x).unwrap();
                run.add(&format!("{name}, pool"), [("y", y), ("dx", x)]);
            }
        }
    }

    let g = batch_norm::Geometry { images: 3, pixels: 50, channels: 21, epsilon: 1e-5 };
    let mut op = run.op();
    let batch = op.slots.words([2], vec![3, 1.0f32.to_bits()]);
    let [x, dy] = [0; 2].map(|_| op.operand([150, 21]));
    let [scale, shift, mean] = [0; 3].map(|_| op.operand([21]));
    let variance = op.slots.floats([21], positive(9, 21));
    let vectors = batch_norm::Vectors { scale, shift, mean, variance };
    let [y, tested, dx] = [0; 3].map(|_| op.room([150, 21]));
    let [scale, shift, mean, variance] = [0; 4].map(|_| op.room([21]));
    let gradients = batch_norm::Vectors { scale, shift, mean, variance };
    let scratch = op.room([g.scratch()]);
    let device = run.load(&op);
    batch_norm::forward(device, &g, x, vectors, tested, scratch).unwrap();
    let own = batch_norm::Vectors { mean, variance, ..vectors };
    let training = batch_norm::ForwardBatch { batch, x, vectors: own, y };
    batch_norm::forward_batch(device, &g, &training, scratch).unwrap();
    let work =
        batch_norm::Backward { batch, x, dy, vectors, momentum: 0.1, dx: Some(dx), gradients };
    batch_norm::backward(device, &g, &work, scratch).unwrap();
    let results = [("y", y), ("y at test", tested), ("dx", dx), ("d scale", scale)];
    run.add("batch norm", results);
    let results = [("d shift", shift), ("d mean", mean), ("d variance", variance)];
    run.add("batch norm", results);

    let g = layer_norm::Geometry { rows: 37, channels: 43, epsilon: 1e-5 };
    let mut op = run.op();
    let [x, dy] = [0; 2].map(|_| op.operand([37, 43]));
    let [scale, shift] = [0; 2].map(|_| op.operand([43]));
    let [y, dx] = [0; 2].map(|_| op.room([37, 43]));
    let [d_scale, d_shift] = [0; 2].map(|_| op.room([43]));
    let scratch = op.room([g.scratch()]);
    let device = run.load(&op);
    layer_norm::forward(device, &g, x, scale, shift, y).unwrap();
    let work = layer_norm::Backward { x, dy, scale, dx: Some(dx), d_scale, d_shift };
    layer_norm::backward(device, &g, &work, scratch).unwrap();
    let results = [("y", y), ("dx", dx), ("d scale", d_scale), ("d shift", d_shift)];
    run.add("layer norm", results);
}

/// The ops at the start and the end of a step.
fn first_and_last(run: &mut Run<'_>) {
    let (images, height, width) = (3, 5, 19);
    let mean = preprocess::Mean::Image { height: 8, width: 22 };
    let g = preprocess::Geometry { images, height, width, mean };
    let mut op = run.op();
    let len = images * height * width * preprocess::CHANNELS;
    let mut draws = Stream::new(1, Purpose::Test, 0, 0);
    let pixels = op.slots.bytes([len], (0..len).map(|_| (draws.next() >> 24) as u8).collect());
    let views = op.slots.words([images, 3], vec![0, 0, 0, 1, 2, 1, 3, 3, 1]);
    let tints = op.values(4 * images); // one gain and three shifts
    let tints = tints.chunks_exact(4).flat_map(|t| [t[0], t[0], t[0], t[1], t[2], t[3]]);
    let tints = op.slots.floats([images, preprocess::TINTS], tints.collect());
    let mean = op.slots.floats([8 * 22 * 3], positive(8, 8 * 22 * 3));
    let x = op.room([len]);
    let inputs = preprocess::Inputs { pixels, views, tints, mean };
    let in_bf16 = op.slots.room_in_bf16([len]);
    preprocess::forward(run.load(&op), &g, inputs, x).unwrap();
    run.check_in_bf16(x, in_bf16, |device, x| preprocess::forward(device, &g, inputs, x));
    run.add("preprocess", [("x", x)]);

    let g = softmax_loss::Geometry { images: 4, classes: 37 };
    let mut op = run.op();
    let logits = op.slots.floats([4, 37], numbers(1, 4 * 37).iter().map(|x| 9.0 * x).collect());
    let labels = op.slots.words([4], vec![0, 36, 5, 17]);
    let [gradient, probabilities] = [0; 2].map(|_| op.room([4, 37]));
    let [tally, again] = [0; 2].map(|_| op.room(softmax_loss::tally_shape(4)));
    let device = run.load(&op);
    softmax_loss::forward_backward(device, &g, logits, labels, gradient, tally).unwrap();
    softmax_loss::forward(device, &g, logits, labels, probabilities, again).unwrap();
    let results = [("gradient", gradient), ("probabilities", probabilities), ("tally", tally)];
    run.add("softmax loss", results);

    let mut op = run.op();
    let logits = op.slots.floats([4, 37], numbers(1, 4 * 37).iter().map(|x| 9.0 * x).collect());
    let labels = op.slots.words([4], vec![0, 36, 5, 17]);
    let targets = op.slots.floats([4, 37], positive(2, 4 * 37));
    let gradient = op.room([4, 37]);
    let tally = op.room(softmax_loss::tally_shape(4));
    let inputs = softmax_loss::DenseInputs { logits, labels, targets };
    softmax_loss::forward_backward_dense(run.load(&op), &g, inputs, gradient, tally).unwrap();
    run.add("softmax loss of dense targets", [("gradient", gradient), ("tally", tally)]);

    sgd_step(run, "sgd", sgd::Rule::Paper);
    adam_step(run, "adam", false);
}

/// The segments of an update of 740 parameters, and their table.
const SEGMENTS: [sgd::Segment; 2] =
    [sgd::Segment { start: 1, len: 700 }, sgd::Segment { start: 705, len: 33 }];
const TABLE: [f32; 6] = [0.01, 0.9, 0.0005, 0.02, 0.8, 0.0];

fn sgd_step(run: &mut Run<'_>, name: &str, rule: sgd::Rule) {
    let mut op = run.op();
    let table = op.slots.floats([6], TABLE.to_vec());
    let [dw, w, v] = [0; 3].map(|_| op.operand([740]));
    sgd::step_by(run.load(&op), rule, &SEGMENTS, table, dw, w, v).unwrap();
    run.add(name, [("w", w), ("v", v)]);
}

fn adam_step(run: &mut Run<'_>, name: &str, decoupled: bool) {
    let mut op = run.op();
    let table = op.slots.floats([6], TABLE.to_vec());
    let corrections = op.slots.floats([2], adam::corrections(0.9, 3).to_vec());
    let [dw, w, first] = [0; 3].map(|_| op.operand([740]));
    let second = op.slots.floats([740], positive(4, 740));
    let moments = adam::Moments { first, second };
    let hyperparameters = adam::Hyperparameters { table, corrections, decoupled };
    adam::step(run.load(&op), &SEGMENTS, hyperparameters, dw, w, moments).unwrap();
    run.add(name, [("w", w), ("m", first), ("s", second)]);
}

/// Updates from after the paper, clipping of gradients and averages of weights.
fn later_updates(run: &mut Run<'_>) {
    sgd_step(run, "sgd nesterov", sgd::Rule::PaperNesterov);
    sgd_step(run, "sgd pytorch", sgd::Rule::Pytorch);
    sgd_step(run, "sgd pytorch nesterov", sgd::Rule::PytorchNesterov);
    adam_step(run, "adamw", true);

    let mut op = run.op();
    let rows = [clip::Rows { start: 1, row: 350, count: 2, at: 0 }];
    let (dw, norms) = (op.operand([740]), op.slots.floats([2], vec![0.0; 2]));
    let factor = op.slots.floats([1], vec![0.3]);
    let device = run.load(&op);
    clip::norms(device, &rows, 0.5, dw, norms).unwrap();
    clip::scale(device, &SEGMENTS, factor, dw).unwrap();
    run.add("clip", [("dw", dw), ("norms", norms)]);

    for (name, by) in [("average", 0.01), ("average from one half on", 0.75)] {
        let mut op = run.op();
        let [x, y] = [0; 2].map(|_| op.operand([740]));
        let factor = op.slots.floats([1], vec![by]);
        average::step(run.load(&op), factor, x, y).unwrap();
        run.add(name, [("y", y)]);
    }
}
