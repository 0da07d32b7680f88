//! NVIDIA's libraries beside our own kernels: whether they come to the same, and how long both
//! take.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu;
use alexnet_benches::ledger::Table;
use alexnet_benches::median;
use kernels::conv::{self, Algorithm, Pad};
use kernels::linear;
use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use random::{Purpose, Stream};
use tensor::cublaslt::CublasLt;
use tensor::cudnn::Cudnn;
use tensor::{DType, Device, Planner, Precision, Shape, Slot, Target};

/// How far two results may lie apart, as a share of them: other orders of the sums, and in rounding
/// operands to less other ways to round them.
fn tolerance(precision: Precision) -> f64 {
    (4.0 * precision.unit()).max(1e-5)
}

/// What a layer reads: x, w, b, dy; what it makes: y, dx, dw, db; and its scratch memory.
type Operands = [Slot; 9];
/// Its passes, and which of the operands each makes.
const PASSES: [(&str, &[usize]); 3] = [("y", &[4]), ("dx", &[5]), ("dw, db", &[6, 7])];

enum Layer {
    Conv(conv::Geometry),
    Linear(linear::Geometry),
}

impl Layer {
    /// Floats of its operands.
    fn floats(&self) -> [usize; 9] {
        let (x, w, b, y, scratch) = match self {
            Layer::Conv(g) => {
                let [x, w, y] = [g.in_shape(), g.filter_shape(), g.out_shape()].map(|it| it.len());
                (x, w, g.filters, y, g.scratch(Target::Cuda))
            }
            Layer::Linear(g) => {
                let (x, w, y) = (g.images * g.inputs, g.inputs * g.outputs, g.images * g.outputs);
                (x, w, g.outputs, y, g.scratch(Target::Cuda))
            }
        };
        [x, w, b, y, y, x, w, b, scratch]
    }

    fn run(&self, device: &mut Device, pass: usize, at: &Operands) -> tensor::Result<()> {
        let [x, w, b, dy, y, dx, dw, db, scratch] = *at;
        match (self, pass) {
            (Layer::Conv(g), 0) => conv::forward(device, g, Forward { x, w, b, y, scratch }),
            (Layer::Conv(g), 1) => {
                conv::backward_input(device, g, BackwardInput { dy, w, dx, scratch })
            }
            (Layer::Conv(g), _) => {
                conv::backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch })
            }
            (Layer::Linear(g), 0) => linear::forward(device, g, Forward { x, w, b, y, scratch }),
            (Layer::Linear(g), 1) => {
                linear::backward_input(device, g, BackwardInput { dy, w, dx, scratch })
            }
            (Layer::Linear(g), _) => {
                linear::backward_weights(device, g, BackwardWeights { x, dy, dw, db, scratch })
            }
        }
    }
}

/// AlexNet's learned layers as in the paper, or two small ones.
fn layers(small: bool) -> Vec<(&'static str, Layer)> {
    let images = if small { 2 } else { 128 };
    let conv = |side, channels, filters, (window, stride, pad, groups): (usize, _, _, _)| {
        Layer::Conv(conv::Geometry {
            images,
            height: side,
            width: side,
            channels,
            filters,
            window: (window, window),
            stride,
            pad: Pad::same(pad),
            groups,
            relu: true,
            algorithm: Algorithm::Fastest,
        })
    };
    let linear =
        |inputs, outputs| Layer::Linear(linear::Geometry { images, inputs, outputs, relu: true });
    if small {
        return vec![("conv", conv(9, 4, 6, (3, 2, 1, 2))), ("fc", linear(20, 12))];
    }
    vec![
        ("conv1", conv(227, 3, 96, (11, 4, 0, 1))),
        ("conv2", conv(27, 96, 256, (5, 1, 2, 2))),
        ("conv3", conv(13, 256, 384, (3, 1, 1, 1))),
        ("conv4", conv(13, 384, 384, (3, 1, 1, 2))),
        ("conv5", conv(13, 384, 256, (3, 1, 1, 2))),
        ("fc6", linear(9216, 4096)),
        ("fc7", linear(4096, 4096)),
        ("fc8", linear(4096, 1000)),
    ]
}

/// Runs the section: every pass of every layer in every precision, by whichever libraries there
/// are.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let (cublaslt, cudnn) = (CublasLt::find(), Cudnn::find());
    let found = [
        cublaslt.as_ref().map(|it| format!("cuBLASLt {}", it.version())),
        cudnn.as_ref().map(|it| format!("cuDNN {}", it.version())),
    ];
    let mut verdict = Verdict::Passed;
    for library in &found {
        match library {
            Ok(name) => println!("* {name}"),
            Err(error) => {
                println!("* {error}");
                verdict = Verdict::Unfinished;
            }
        }
    }
    let layers = layers(cli.small);
    let floats = layers.iter().flat_map(|(_, layer)| layer.floats()).max().unwrap_or(0);
    let noise = noise(floats + 4);
    let values = ["by", "ms", "our ms", "times as long", "apart"];
    let mut table = Table::new(&["layer", "makes", "precision"], &values);
    for precision in gpu::precisions()? {
        budget.say(&format!("vendor: {precision}"));
        let open = || Ok::<_, String>(gpu::open_in(precision)?.expect("a precision that it has"));
        let (mut own, mut theirs) = (open()?, open()?);
        let cuda = gpu::cuda(&mut theirs);
        let with = cublaslt.iter().try_for_each(|it| cuda.use_cublaslt(it));
        with.and_then(|()| cudnn.iter().try_for_each(|it| cuda.use_cudnn(it)))
            .map_err(|error| error.to_string())?;
        for (name, layer) in &layers {
            let there = match layer {
                Layer::Conv(_) => cudnn.is_ok(),
                Layer::Linear(_) => cublaslt.is_ok(),
            };
            if !there {
                continue;
            }
            if budget.lacks(3.0) && !cli.small {
                println!("\n{name}, {precision}: no time was left for it");
                verdict = verdict.and(Verdict::Unfinished);
                continue;
            }
            let rows = compare(layer, [&mut own, &mut theirs], &noise, cli.small);
            for row in rows.map_err(|error| format!("{name}, {precision}: {error}"))? {
                let agree = row.apart <= tolerance(precision);
                verdict = verdict.and(Verdict::of(agree));
                table.push(row.told(name, precision, agree));
            }
        }
    }
    println!("\n{}", table.render());
    Ok(verdict)
}

/// A pass of a layer.
struct Row {
    made: &'static str,
    /// What the library calls it; nothing if it leaves it to our kernels.
    by: Option<&'static str>,
    /// Ours, and the library's.
    ms: [f64; 2],
    apart: f64,
}

impl Row {
    fn told(&self, layer: &str, precision: Precision, agree: bool) -> Vec<String> {
        let [own, theirs] = self.ms;
        let word = if agree { "" } else { " DISAGREE" };
        [layer, self.made, precision.name(), self.by.unwrap_or("our kernel")]
            .map(String::from)
            .into_iter()
            .chain([theirs, own].map(|ms| format!("{ms:.4}")))
            .chain([format!("{:.2}", theirs / own), format!("{:.1e}{word}", self.apart)])
            .collect()
    }
}

/// The passes of a layer by our kernels and by a library, each on its device.
fn compare(
    layer: &Layer,
    [own, theirs]: [&mut Device; 2],
    noise: &[f32],
    small: bool,
) -> tensor::Result<Vec<Row>> {
    let at = prepare(own, layer, noise)?;
    prepare(theirs, layer, noise)?;
    let mut rows = Vec::new();
    for (pass, (made, outputs)) in PASSES.into_iter().enumerate() {
        let rounds = if small { 1 } else { 10 };
        let (own_ms, _) = time(own, layer, (pass, rounds), &at)?;
        let (their_ms, by) = time(theirs, layer, (pass, rounds), &at)?;
        let mut apart = 0.0f64;
        for &output in outputs {
            let of = |device: &Device| device.download::<f32>(at[output]);
            apart = apart.max(distance(&of(own)?, &of(theirs)?));
        }
        rows.push(Row { made, by, ms: [own_ms, their_ms], apart });
    }
    Ok(rows)
}

/// Lays a layer's operands out and fills those that it reads.
fn prepare(device: &mut Device, layer: &Layer, noise: &[f32]) -> tensor::Result<Operands> {
    let mut planner = Planner::new();
    let at = layer.floats().map(|floats| planner.claim(DType::F32, Shape::from([floats])));
    device.reserve(planner.total())?;
    for (idx, slot) in at[..4].iter().enumerate() {
        device.upload(*slot, &noise[idx..idx + slot.len()])?;
    }
    Ok(at)
}

/// The middle of a pass's times, and the library's name for it if one makes it.
fn time(
    device: &mut Device,
    layer: &Layer,
    (pass, rounds): (usize, usize),
    at: &Operands,
) -> tensor::Result<(f64, Option<&'static str>)> {
    (0..2).try_for_each(|_| layer.run(device, pass, at))?; // loads what it needs, wakes the GPU up
    gpu::cuda(device).begin_profile()?;
    let mut begins = vec![0];
    for _ in 0..rounds {
        layer.run(device, pass, at)?;
        begins.push(gpu::cuda(device).laps());
    }
    let laps = gpu::cuda(device).end_profile()?;
    let sum = |ends: &[usize]| laps[ends[0]..ends[1]].iter().map(|lap| lap.ms).sum::<f64>();
    let by = laps.iter().map(|lap| lap.kernel).find(|kernel| kernel.starts_with("cu"));
    Ok((median(begins.windows(2).map(sum).collect()), by))
}

/// How far b lies from a, as a share of it.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |each: &dyn Fn(usize) -> f64| (0..a.len()).map(|i| each(i).powi(2)).sum::<f64>();
    let apart = norm(&|i| f64::from(a[i]) - f64::from(b[i]));
    let apart = (apart / norm(&|i| f64::from(a[i]))).sqrt();
    if apart.is_nan() { f64::INFINITY } else { apart }
}

/// Numbers from -1 to 1.
fn noise(len: usize) -> Vec<f32> {
    let mut draws = Stream::new(7, Purpose::Test, 0, 0);
    (0..len).map(|_| (draws.next() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_apart_is_seen() {
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 9.0]), 1.0);
        assert_eq!(distance(&[3.0, f32::NAN], &[3.0, 4.0]), f64::INFINITY);
    }

    /// 60,954,656 weights, of which the convolutions have 2,332,704.
    #[test]
    fn layers_are_the_papers() {
        let weights = |layer: &(&str, Layer)| layer.1.floats()[1];
        let layers = layers(false);
        let convolutions: usize = layers[..5].iter().map(weights).sum();
        let all: usize = layers.iter().map(weights).sum();
        assert_eq!((convolutions, all), (2_332_704, 60_954_656));
    }
}
