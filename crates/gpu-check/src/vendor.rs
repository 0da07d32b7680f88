//! Compares results and times of NVIDIA's libraries with our kernels.

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

/// The allowed relative difference of two results, whose sums and roundings of operands differ.
fn tolerance(precision: Precision) -> f64 {
    (4.0 * precision.unit()).max(1e-5)
}

/// A layer's inputs x, w, b, dy, its outputs y, dx, dw, db, and its scratch memory.
type Operands = [Slot; 9];
/// The passes of a layer and the indices of their outputs in [`Operands`].
const PASSES: [(&str, &[usize]); 3] = [("y", &[4]), ("dx", &[5]), ("dw, db", &[6, 7])];

enum Layer {
    Conv(conv::Geometry),
    Linear(linear::Geometry),
}

impl Layer {
    /// The numbers of elements of its operands.
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

/// AlexNet's trainable layers as in the paper, or two small ones.
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

/// Runs the section: every pass of every layer in every precision with the libraries that are
/// installed.
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
    let values = ["by", "ms", "our ms", "ratio", "difference"];
    let mut table = Table::new(&["layer", "output", "precision"], &values);
    for precision in gpu::precisions()? {
        budget.log(&format!("vendor: {precision}"));
        let open =
            || Ok::<_, String>(gpu::open_in(precision)?.expect("the GPU has this precision"));
        let (mut own, mut theirs) = (open()?, open()?);
        let cuda = gpu::cuda(&mut theirs);
        let enabled = cublaslt.iter().try_for_each(|it| cuda.use_cublaslt(it));
        enabled
            .and_then(|()| cudnn.iter().try_for_each(|it| cuda.use_cudnn(it)))
            .map_err(|error| error.to_string())?;
        for (name, layer) in &layers {
            let is_installed = match layer {
                Layer::Conv(_) => cudnn.is_ok(),
                Layer::Linear(_) => cublaslt.is_ok(),
            };
            if !is_installed {
                continue;
            }
            if budget.lacks(3.0) && !cli.small {
                println!("\n{name}, {precision}: not started: no time left");
                verdict = verdict.and(Verdict::Unfinished);
                continue;
            }
            let rows = compare(layer, [&mut own, &mut theirs], &noise, cli.small);
            for row in rows.map_err(|error| format!("{name}, {precision}: {error}"))? {
                let agree = row.difference <= tolerance(precision);
                verdict = verdict.and(Verdict::of(agree));
                table.push(row.cells(name, precision, agree));
            }
        }
    }
    println!("\n{}", table.render());
    Ok(verdict)
}

/// A pass of a layer.
struct PassResult {
    output: &'static str,
    /// The library's function; `None` if our kernel ran.
    by: Option<&'static str>,
    /// Our time and the library's.
    ms: [f64; 2],
    difference: f64,
}

impl PassResult {
    fn cells(&self, layer: &str, precision: Precision, agree: bool) -> Vec<String> {
        let [own, theirs] = self.ms;
        let mark = if agree { "" } else { " DISAGREE" };
        [layer, self.output, precision.name(), self.by.unwrap_or("our kernel")]
            .map(String::from)
            .into_iter()
            .chain([theirs, own].map(|ms| format!("{ms:.4}")))
            .chain([format!("{:.2}", theirs / own), format!("{:.1e}{mark}", self.difference)])
            .collect()
    }
}

/// Runs the passes of a layer on a device with our kernels and on one with the libraries.
fn compare(
    layer: &Layer,
    [own, theirs]: [&mut Device; 2],
    noise: &[f32],
    small: bool,
) -> tensor::Result<Vec<PassResult>> {
    // Slots belong to the planner that laid them out: both devices have the same ones.
    let mut planner = Planner::new();
    let at = layer.floats().map(|floats| planner.claim(DType::F32, Shape::from([floats])));
    for device in [&mut *own, &mut *theirs] {
        device.reserve(planner.total())?;
        fill(device, &at, noise)?;
    }
    let mut rows = Vec::new();
    for (pass, (output, outputs)) in PASSES.into_iter().enumerate() {
        let rounds = if small { 1 } else { 10 };
        let (own_ms, _) = time(own, layer, pass, rounds, &at)?;
        let (their_ms, by) = time(theirs, layer, pass, rounds, &at)?;
        let mut difference = 0.0f64;
        for &idx in outputs {
            let of = |device: &Device| device.download::<f32>(at[idx]);
            difference = difference.max(distance(&of(own)?, &of(theirs)?));
        }
        rows.push(PassResult { output, by, ms: [own_ms, their_ms], difference });
    }
    Ok(rows)
}

/// Fills a layer's inputs.
fn fill(device: &mut Device, at: &Operands, noise: &[f32]) -> tensor::Result<()> {
    let mut inputs = at[..4].iter().enumerate();
    inputs.try_for_each(|(idx, slot)| device.upload(*slot, &noise[idx..idx + slot.len()]))
}

/// The median time of a pass, and the library's function if one ran.
fn time(
    device: &mut Device,
    layer: &Layer,
    pass: usize,
    rounds: usize,
    at: &Operands,
) -> tensor::Result<(f64, Option<&'static str>)> {
    (0..2).try_for_each(|_| layer.run(device, pass, at))?; // warm-up
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

/// The relative difference |a - b| / |a|.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |each: &dyn Fn(usize) -> f64| (0..a.len()).map(|i| each(i).powi(2)).sum::<f64>();
    let apart = norm(&|i| f64::from(a[i]) - f64::from(b[i]));
    let apart = (apart / norm(&|i| f64::from(a[i]))).sqrt();
    if apart.is_nan() { f64::INFINITY } else { apart }
}

/// Random values from -1 to 1.
fn noise(len: usize) -> Vec<f32> {
    let mut draws = Stream::new(7, Purpose::Test, 0, 0);
    (0..len).map(|_| (draws.next() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_relative() {
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 9.0]), 1.0);
        assert_eq!(distance(&[3.0, f32::NAN], &[3.0, 4.0]), f64::INFINITY);
    }

    /// 60,954,656 weights, of which the convolutions have 2,332,704.
    #[test]
    fn layers_have_the_papers_weights() {
        let weights = |layer: &(&str, Layer)| layer.1.floats()[1];
        let layers = layers(false);
        let convolutions: usize = layers[..5].iter().map(weights).sum();
        let all: usize = layers.iter().map(weights).sum();
        assert_eq!((convolutions, all), (2_332_704, 60_954_656));
    }
}
