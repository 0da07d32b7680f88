//! For tests: every op gives the same bits with AVX-512, with AVX2 and in portable code, and those
//! that it gave when `widths.txt` was recorded.
//!
//! A process has one width for good, so each runs in a process of its own, which prints a digest of
//! each result. Operands are whole multiples of 2^-23: no function of the system's makes them.

use crate::conv::{self, Algorithm, Pad};
use crate::{activation, adam, batch_norm, bf16, columns, dropout, layer_norm, linear, local, lrn};
use crate::{lrn_pool, pool, prelu, preprocess, sgd, softmax_loss};
use random::{Purpose, Stream};
use std::fmt::Write;
use std::process::Command;
use tensor::{Device, Shape, Slot, Vectors};
use testkit::Slots;

const RECORDED: &str = include_str!("widths.txt");

/// Results by name.
#[derive(Default)]
struct Results(Vec<(String, Vec<f32>)>);

impl Results {
    fn add(&mut self, name: &str, results: impl IntoIterator<Item = (&'static str, Vec<f32>)>) {
        let named =
            results.into_iter().map(|(result, floats)| (format!("{name} {result}"), floats));
        self.0.extend(named);
    }

    /// A line each: the digest of its bits (FNV-1a), and its name.
    fn digests(&self) -> String {
        let mut lines = String::new();
        for (name, floats) in &self.0 {
            assert!(floats.iter().all(|x| x.is_finite()), "{name}: {floats:?}");
            let bytes = floats.iter().flat_map(|x| x.to_bits().to_le_bytes());
            let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
            writeln!(lines, "{digest:016x} {name}").expect("a string takes all");
        }
        lines
    }
}

/// In [-1, 1).
pub(crate) fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut draws = Stream::new(seed, Purpose::Test, 0, 0);
    (0..len).map(|_| 2.0 * draws.unit() - 1.0).collect()
}

fn positive(seed: u64, len: usize) -> Vec<f32> {
    numbers(seed, len).into_iter().map(|x| 1.0 + x).collect()
}

/// Operands of one op on a device of two threads.
struct Op {
    slots: Slots,
    device: Device,
    seed: u64,
}

impl Op {
    fn new() -> Op {
        Op { slots: Slots::new(), device: Device::cpu(2), seed: 0 }
    }

    /// An operand, each with numbers of its own.
    fn operand(&mut self, shape: impl Into<Shape>) -> Slot {
        self.seed += 1;
        let shape = shape.into();
        self.slots.floats(shape, numbers(self.seed, shape.len()))
    }

    fn room(&mut self, shape: impl Into<Shape>) -> Slot {
        self.slots.room(shape)
    }

    fn load(&mut self) -> &mut Device {
        self.slots.load(&mut self.device);
        &mut self.device
    }

    fn results<const N: usize>(
        &self,
        results: [(&'static str, Slot); N],
    ) -> [(&'static str, Vec<f32>); N] {
        results.map(|(name, slot)| (name, self.device.download(slot).unwrap()))
    }
}

#[test]
#[ignore = "what each width's process runs: prints the lines of widths.txt"]
fn print() {
    let mut all = Results::default();
    products(&mut all);
    between(&mut all);
    normalized(&mut all);
    ends(&mut all);
    print!("\nvectors {}\n{}", Vectors::limit().name(), all.digests());
}

/// As many widths as the processor has, and what was recorded.
#[test]
fn bits_depend_on_no_width_and_are_the_recorded_ones() {
    let program = std::env::current_exe().unwrap();
    for vectors in Vectors::ALL {
        if !vectors.are_here() {
            eprintln!("SKIPPED: this processor has no {}", vectors.name());
            continue;
        }
        let arguments = ["widths::print", "--exact", "--ignored", "--nocapture"];
        let mut command = Command::new(&program);
        let output =
            command.args(arguments).env(Vectors::VARIABLE, vectors.name()).output().unwrap();
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

/// Convolutions in every form, local and linear layers.
fn products(all: &mut Results) {
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
        convolution(all, &format!("conv {name} direct"), &g);
        let g = conv::Geometry { algorithm: Algorithm::Winograd, ..g };
        convolution(all, &format!("conv {name} winograd"), &g);
    }
    let g = conv::Geometry { groups: 2, algorithm: Algorithm::Winograd, ..plain };
    convolution(all, "conv 3x3 groups winograd", &g);
    let g = conv::Geometry { images: 1, height: 5, channels: 6, ..plain };
    all.add("conv 3x3 bf16", conv::tests::by_the_twin(&g));
    let g = conv::Geometry { images: 1, ..strided };
    all.add("conv 3x3 stride 2 groups bf16", conv::tests::by_the_twin(&g));

    let g = local::Geometry {
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
    };
    let mut op = Op::new();
    let (x, w) = (op.operand(g.in_shape()), op.operand(g.filter_shape()));
    let (b, dy) = (op.operand(g.bias_shape()), op.operand(g.out_shape()));
    let [y, dx, dw, db] =
        [g.out_shape(), g.in_shape(), g.filter_shape(), g.bias_shape()].map(|s| op.room(s));
    let scratch = op.room([g.scratch(op.device.target())]);
    let device = op.load();
    local::forward(device, &g, x, w, b, y, scratch).unwrap();
    local::backward_input(device, &g, dy, w, dx, scratch).unwrap();
    local::backward_filter(device, &g, x, dy, dw, db, scratch).unwrap();
    all.add("local", op.results([("y", y), ("dx", dx), ("dw", dw), ("db", db)]));

    for (images, inputs, outputs) in [(1, 555, 75), (6, 555, 75), (9, 520, 270), (260, 20, 18)] {
        let g = linear::Geometry { images, inputs, outputs, relu: true };
        let mut op = Op::new();
        let (x, w) = (op.operand([images, g.inputs]), op.operand([g.outputs, g.inputs]));
        let (b, dy) = (op.operand([g.outputs]), op.operand([images, g.outputs]));
        let (y, dx) = (op.room([images, g.outputs]), op.room([images, g.inputs]));
        let (dw, db) = (op.room([g.outputs, g.inputs]), op.room([g.outputs]));
        let scratch = op.room([g.scratch(op.device.target())]);
        let device = op.load();
        linear::forward(device, &g, x, w, b, y, scratch).unwrap();
        linear::backward_input(device, &g, dy, w, dx, scratch).unwrap();
        linear::backward_weights(device, &g, x, dy, dw, db, scratch).unwrap();
        let results = op.results([("y", y), ("dx", dx), ("dw", dw), ("db", db)]);
        all.add(&format!("linear {inputs} to {outputs}, of {images}"), results);
    }
    let g = linear::Geometry { images: 3, inputs: 70, outputs: 33, relu: true };
    all.add("linear bf16", linear::tests::by_the_twin(&g));
}

fn convolution(all: &mut Results, name: &str, g: &conv::Geometry) {
    let mut op = Op::new();
    let (x, w) = (op.operand(g.in_shape()), op.operand(g.filter_shape()));
    let (b, dy) = (op.operand([g.filters]), op.operand(g.out_shape()));
    let [y, again, dx, dw] =
        [g.out_shape(), g.out_shape(), g.in_shape(), g.filter_shape()].map(|s| op.room(s));
    let (db, kept) = (op.room([g.filters]), op.room([g.kept(op.device.target())]));
    let scratch = op.room([g.scratch(op.device.target())]);
    let device = op.load();
    conv::forward(device, g, x, w, b, y, scratch).unwrap();
    conv::keep(device, g, w, kept, scratch).unwrap();
    conv::forward_kept(device, g, x, (w, kept), b, again, scratch).unwrap();
    conv::backward_input(device, g, dy, w, dx, scratch).unwrap();
    conv::backward_filter(device, g, x, dy, dw, db, scratch).unwrap();
    let results = [("y", y), ("kept y", again), ("dx", dx), ("dw", dw), ("db", db)];
    all.add(name, op.results(results));
}

/// What stands between what is learned.
fn between(all: &mut Results) {
    use activation::Activation;
    const LEN: usize = 1003;
    for (name, kind) in [
        ("relu", Activation::Relu),
        ("tanh", Activation::Tanh { outer: 1.7, inner: 0.66 }),
        ("logistic", Activation::Logistic),
        ("leaky relu", Activation::LeakyRelu { slope: 0.1 }),
        ("gelu", Activation::Gelu),
    ] {
        let mut op = Op::new();
        let (x, dy) = (op.operand([LEN]), op.operand([LEN]));
        let (y, dx) = (op.room([LEN]), op.room([LEN]));
        let kept = if kind.reads_input() { x } else { y };
        let device = op.load();
        activation::forward(device, kind, x, y).unwrap();
        activation::backward(device, kind, kept, dy, dx).unwrap();
        if kind == Activation::Relu {
            activation::mask_by_relu(device, x, dy).unwrap();
        }
        all.add(name, op.results([("y", y), ("dx", dx), ("dy", dy)]));
    }

    let g = prelu::Geometry { rows: 150, channels: 21 };
    let mut op = Op::new();
    let [x, dy, y, dx] = [true, true, false, false].map(|is_read| match is_read {
        true => op.operand([g.rows, g.channels]),
        false => op.room([g.rows, g.channels]),
    });
    let (a, da, scratch) = (op.operand([21]), op.room([21]), op.room([g.scratch()]));
    let device = op.load();
    prelu::forward(device, &g, x, a, y).unwrap();
    prelu::backward_input(device, &g, x, a, dy, dx).unwrap();
    prelu::backward_slopes(device, &g, x, dy, da, scratch).unwrap();
    all.add("prelu", op.results([("y", y), ("dx", dx), ("da", da)]));

    for (name, kind) in [
        ("max pool", pool::Kind::Max { ties: pool::Ties::All }),
        ("max pool, first", pool::Kind::Max { ties: pool::Ties::First }),
        ("average pool", pool::Kind::Average),
    ] {
        let g = maps(kind);
        let mut op = Op::new();
        let (x, dy) = (op.operand(g.in_shape()), op.operand(g.out_shape()));
        let (y, dx) = (op.room(g.out_shape()), op.room(g.in_shape()));
        let device = op.load();
        pool::forward(device, &g, x, y).unwrap();
        pool::backward(device, &g, x, y, dy, dx).unwrap();
        if pool::fits_in_place(kind) {
            pool::backward_in_place(device, &g, true, y, dy, x).unwrap();
        }
        all.add(name, op.results([("y", y), ("dx", dx), ("x", x)]));
    }

    for (name, columns) in [
        ("dropout", None),
        ("dropout of columns", Some(dropout::Columns { width: 25, first: 3, whole: 61 })),
    ] {
        let form = dropout::Form::Inverted;
        let g = dropout::Geometry { units: 1000, layer: 2, drop: 0.4, form, columns };
        let mut op = Op::new();
        let clock = op.slots.words([3], vec![7, 0, 11]);
        let (x, y, tested) = (op.operand([1000]), op.room([1000]), op.room([1000]));
        let device = op.load();
        dropout::forward(device, &g, clock, x, y).unwrap();
        let paper = dropout::Geometry { form: dropout::Form::Paper, ..g };
        dropout::at_test(device, &paper, x, tested).unwrap();
        all.add(name, op.results([("y", y), ("at test", tested)]));
    }

    let g = columns::Geometry {
        rows: 40,
        count: 19,
        x: columns::Place { width: 30, first: 4 },
        y: columns::Place { width: 25, first: 6 },
    };
    let mut op = Op::new();
    let (x, y, copied) = (op.operand([40, 30]), op.operand([40, 25]), op.operand([40, 25]));
    let device = op.load();
    columns::add(device, &g, x, y).unwrap();
    columns::copy(device, &g, x, copied).unwrap();
    all.add("columns", op.results([("added", y), ("copied", copied)]));

    let mut op = Op::new();
    let (x, y, z) = (op.operand([LEN]), op.operand([LEN]), op.operand([LEN]));
    let packed = op.room([bf16::packed_len(LEN)]);
    let device = op.load();
    bf16::pack(device, x, packed).unwrap();
    bf16::add_packed(device, packed, y).unwrap();
    bf16::add_rounded(device, x, z).unwrap();
    all.add("bf16", op.results([("added", y), ("rounded", z)]));
}

fn maps(kind: pool::Kind) -> pool::Geometry {
    let (images, height, width, channels) = (2, 9, 12, 43);
    pool::Geometry {
        images,
        height,
        width,
        channels,
        kind,
        window: 3,
        stride: 2,
        pad: 0,
        ceil: false,
    }
}

/// Normalisations.
fn normalized(all: &mut Results) {
    let pooled = maps(pool::Kind::Max { ties: pool::Ties::All });
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
            let mut op = Op::new();
            let (x, dy) = (op.operand(g.shape()), op.operand(g.shape()));
            let (y, dx) = (op.room(g.shape()), op.room(g.shape()));
            let device = op.load();
            lrn::forward(device, &g, x, y).unwrap();
            lrn::backward(device, &g, x, dy, dx).unwrap();
            let name = format!("lrn {region_name}, beta {name}");
            all.add(&name, op.results([("y", y), ("dx", dx)]));
            if region_name == "across" {
                let g = lrn_pool::Geometry { lrn: g, pool: pooled, relu: true };
                let mut op = Op::new();
                let (x, dy) = (op.operand(pooled.in_shape()), op.operand(pooled.out_shape()));
                let y = op.room(pooled.out_shape());
                let device = op.load();
                lrn_pool::forward(device, &g, x, y).unwrap();
                lrn_pool::backward_in_place(device, &g, y, dy, x).unwrap();
                all.add(&format!("{name}, pool"), op.results([("y", y), ("dx", x)]));
            }
        }
    }

    let g = batch_norm::Geometry { images: 3, pixels: 50, channels: 21, epsilon: 1e-5 };
    let mut op = Op::new();
    let batch = op.slots.words([2], vec![3, 1.0f32.to_bits()]);
    let [x, dy] = [0; 2].map(|_| op.operand([150, 21]));
    let [scale, shift, mean] = [0; 3].map(|_| op.operand([21]));
    let variance = op.slots.floats([21], positive(9, 21));
    let vectors = batch_norm::Vectors { scale, shift, mean, variance };
    let [y, tested, dx] = [0; 3].map(|_| op.room([150, 21]));
    let [scale, shift, mean, variance] = [0; 4].map(|_| op.room([21]));
    let gradients = batch_norm::Vectors { scale, shift, mean, variance };
    let scratch = op.room([g.scratch()]);
    let device = op.load();
    batch_norm::forward(device, &g, x, vectors, tested, scratch).unwrap();
    let own = batch_norm::Vectors { mean, variance, ..vectors };
    batch_norm::forward_batch(device, &g, batch, x, own, y, scratch).unwrap();
    let work =
        batch_norm::Backward { batch, x, dy, vectors, momentum: 0.1, dx: Some(dx), gradients };
    batch_norm::backward(device, &g, &work, scratch).unwrap();
    let results = [("y", y), ("y at test", tested), ("dx", dx), ("d scale", scale)];
    all.add("batch norm", op.results(results));
    let results = [("d shift", shift), ("d mean", mean), ("d variance", variance)];
    all.add("batch norm", op.results(results));

    let g = layer_norm::Geometry { rows: 37, channels: 43, epsilon: 1e-5 };
    let mut op = Op::new();
    let [x, dy] = [0; 2].map(|_| op.operand([37, 43]));
    let [scale, shift] = [0; 2].map(|_| op.operand([43]));
    let [y, dx] = [0; 2].map(|_| op.room([37, 43]));
    let [d_scale, d_shift] = [0; 2].map(|_| op.room([43]));
    let scratch = op.room([g.scratch()]);
    let device = op.load();
    layer_norm::forward(device, &g, x, scale, shift, y).unwrap();
    let work = layer_norm::Backward { x, dy, scale, dx: Some(dx), d_scale, d_shift };
    layer_norm::backward(device, &g, &work, scratch).unwrap();
    let results = [("y", y), ("dx", dx), ("d scale", d_scale), ("d shift", d_shift)];
    all.add("layer norm", op.results(results));
}

/// Where a step begins, and where it ends.
fn ends(all: &mut Results) {
    let (images, height, width) = (3, 5, 19);
    let mean = preprocess::Mean::Image { height: 8, width: 22 };
    let g = preprocess::Geometry { images, height, width, mean };
    let mut op = Op::new();
    let len = images * height * width * preprocess::CHANNELS;
    let mut draws = Stream::new(1, Purpose::Test, 0, 0);
    let pixels = op.slots.bytes([len], (0..len).map(|_| (draws.next() >> 24) as u8).collect());
    let views = op.slots.words([images, 3], vec![0, 0, 0, 1, 2, 1, 3, 3, 1]);
    let tints = op.operand([images, 4]);
    let mean = op.slots.floats([8 * 22 * 3], positive(8, 8 * 22 * 3));
    let x = op.room([len]);
    preprocess::forward(op.load(), &g, pixels, views, tints, mean, x).unwrap();
    all.add("preprocess", op.results([("x", x)]));

    let g = softmax_loss::Geometry { images: 4, classes: 37 };
    let mut op = Op::new();
    let logits = op.slots.floats([4, 37], numbers(1, 4 * 37).iter().map(|x| 9.0 * x).collect());
    let labels = op.slots.words([4], vec![0, 36, 5, 17]);
    let [gradient, probabilities] = [0; 2].map(|_| op.room([4, 37]));
    let [tally, again] = [0; 2].map(|_| op.room(softmax_loss::tally_shape(4)));
    let device = op.load();
    softmax_loss::forward_backward(device, &g, logits, labels, gradient, tally).unwrap();
    softmax_loss::forward(device, &g, logits, labels, probabilities, again).unwrap();
    let results = [("gradient", gradient), ("probabilities", probabilities), ("tally", tally)];
    all.add("softmax loss", op.results(results));

    let segments = [sgd::Segment { start: 1, len: 700 }, sgd::Segment { start: 705, len: 33 }];
    let mut op = Op::new();
    let table = op.slots.floats([6], vec![0.01, 0.9, 0.0005, 0.02, 0.8, 0.0]);
    let [dw, w, v] = [0; 3].map(|_| op.operand([740]));
    sgd::step(op.load(), &segments, table, dw, w, v).unwrap();
    all.add("sgd", op.results([("w", w), ("v", v)]));

    let mut op = Op::new();
    let table = op.slots.floats([6], vec![0.01, 0.9, 0.0005, 0.02, 0.8, 0.0]);
    let divisors = op.slots.floats([2], adam::corrections(0.9, 3).to_vec());
    let [dw, w, first] = [0; 3].map(|_| op.operand([740]));
    let second = op.slots.floats([740], positive(4, 740));
    let moments = adam::Moments { first, second };
    adam::step(op.load(), &segments, [table, divisors], dw, w, moments).unwrap();
    all.add("adam", op.results([("w", w), ("m", first), ("s", second)]));
}
