//! A step taken apart: every row, forward and backward, and what stands around them.

use crate::{Mode, noise};
use kernels::{preprocess, sgd, softmax_loss};
use layers::{Network, Phase, Spec, SpecError, TrainableNetwork};
use tensor::{DType, Device, Planner, Recording, Shape, Slot, Target};
use train::recipe::Recipe;

/// Which way a part of a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// From images to scores.
    Forward,
    /// From the scores' gradient to the parameters'.
    Backward,
}

impl Pass {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
        }
    }
}

/// A part of a step and what it takes at least.
#[derive(Clone, Debug)]
pub struct Part {
    /// The row's name, or `preprocess`, `softmax_loss`, `sgd`.
    pub name: String,
    /// Forward or backward.
    pub pass: Pass,
    /// Multiplications and additions; only convolutions and linear layers count theirs.
    pub flops: f64,
    /// Bytes, if every operand is read or written once.
    pub bytes: f64,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Preprocess,
    Forward(usize),
    Loss,
    Backward(usize),
    Update,
}

/// A network with noise for images, run part by part.
#[derive(Debug)]
pub struct Rows {
    device: Device,
    parts: Vec<Part>,
    laid: Laid,
}

/// The network and what surrounds it, laid out.
#[derive(Debug)]
struct Laid {
    network: Planned,
    slots: Slots,
    preprocess: preprocess::Geometry,
    loss: softmax_loss::Geometry,
    segments: Vec<sgd::Segment>,
}

#[derive(Debug)]
enum Planned {
    Train(TrainableNetwork),
    Infer(Network),
}

impl Planned {
    fn new(
        spec: &Spec,
        images: usize,
        mode: Mode,
        planner: &mut Planner,
        target: Target,
    ) -> Result<Planned, SpecError> {
        Ok(match mode {
            Mode::Train => Planned::Train(TrainableNetwork::plan(spec, images, planner, target)?),
            Mode::Infer => Planned::Infer(Network::plan(spec, images, planner, target)?),
        })
    }

    fn network(&self) -> &Network {
        match self {
            Planned::Train(network) => network,
            Planned::Infer(network) => network,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slots {
    pixels: Slot,
    views: Slot,
    tints: Slot,
    mean: Slot,
    labels: Slot,
    probabilities: Slot,
    tally: Slot,
    table: Slot,
}

impl Rows {
    /// Plans training steps of `images` images on `threads` threads (0: one for each core), with
    /// the recipe's initial weights and rates.
    ///
    /// # Panics
    /// If the network does not fit together, or into memory.
    pub fn plan(spec: &Spec, recipe: &Recipe, images: usize, threads: usize) -> Rows {
        let device = Device::cpu(threads);
        Rows::on(device, spec, recipe, Mode::Train, images).expect("a device with room")
    }

    /// Plans steps of `images` images on a device, to train or to test.
    ///
    /// # Errors
    /// If the device lacks room or a form of an op, or fails.
    ///
    /// # Panics
    /// If the network does not fit together.
    pub fn on(
        mut device: Device,
        spec: &Spec,
        recipe: &Recipe,
        mode: Mode,
        images: usize,
    ) -> tensor::Result<Rows> {
        let [height, width, _] = spec.input;
        let classes = spec.classes().expect("a classifier");
        let table = spec.describe().expect("a network that fits together");
        let learned = table.iter().filter(|row| row.parameters > 0).count();
        let mut planner = Planner::new();
        let mut floats = |shape| planner.claim(DType::F32, shape);
        let (tints, mean) = (floats(Shape::from([images, 4])), floats(Shape::from([3])));
        let tally = floats(softmax_loss::tally_shape(images));
        let probabilities = floats(Shape::from([images, classes]));
        let rates = floats(Shape::from([2 * learned, 3]));
        let slots = Slots {
            pixels: planner.claim(DType::U8, Shape::from([images, height, width, 3])),
            views: planner.claim(DType::U32, Shape::from([images, 3])),
            labels: planner.claim(DType::U32, Shape::from([images])),
            tints,
            mean,
            probabilities,
            tally,
            table: rates,
        };
        let network = Planned::new(spec, images, mode, &mut planner, device.target())
            .expect("a network that fits together");
        device.check_room(planner.total())?;
        let entries = &network.network().parameters.entries;
        let segments: Vec<_> = entries
            .iter()
            .map(|entry| sgd::Segment { start: entry.start, len: entry.len() })
            .collect();
        let parts = parts(&network, &table, images, classes);
        let laid = Laid {
            preprocess: preprocess::Geometry {
                images,
                height,
                width,
                mean: preprocess::Mean::Color,
            },
            loss: softmax_loss::Geometry { images, classes },
            network,
            slots,
            segments,
        };
        device.rehearse(|device| parts.iter().try_for_each(|part| laid.run(device, part.work)))?;
        device.reserve(planner.total())?;
        let mut rows = Rows { device, parts, laid };
        rows.fill(recipe, images, classes)?;
        Ok(rows)
    }

    /// Noise for images, and the recipe's weights and rates.
    fn fill(&mut self, recipe: &Recipe, images: usize, classes: usize) -> tensor::Result<()> {
        let Slots { pixels, tints, mean, labels, table, .. } = self.laid.slots;
        let (device, network) = (&mut self.device, self.laid.network.network());
        let parameters = &network.parameters;
        device.upload(pixels, &noise(pixels.len()))?;
        let gains: Vec<[f32; 4]> = vec![[recipe.input.scale as f32, 0.0, 0.0, 0.0]; images];
        device.upload(tints, gains.as_flattened())?;
        device.upload(mean, &[127.5f32; 3])?;
        let classes_in_turn: Vec<u32> = (0..images).map(|image| (image % classes) as u32).collect();
        device.upload(labels, &classes_in_turn)?;
        device.upload(network.clock, &[1u32, 0, 1])?;
        for (ordinal, entry) in parameters.entries.iter().enumerate() {
            let mut values = vec![0.0; entry.len()];
            let init = recipe.rule(&entry.name).init.for_fan_in(entry.fan_in);
            init.fill(0, ordinal, entry.fan_in, &mut values);
            device.upload(parameters.value(ordinal), &values)?;
        }
        network.prepare(device)?;
        let state = train::schedule::State::default();
        let setting = recipe.schedule.setting(&state, 1);
        let rates: Vec<[f32; 3]> =
            parameters.entries.iter().map(|e| recipe.table_row(&e.name, &setting)).collect();
        device.upload(table, rates.as_flattened())
    }

    /// The parts of a step, in their order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Runs a part. Run them in order: each finds what those before it have left.
    ///
    /// # Panics
    /// If the device fails.
    pub fn run(&mut self, part: usize) {
        self.try_run(part).expect("the device works");
    }

    /// [`run`](Self::run), for devices that may fail.
    ///
    /// # Errors
    /// If this one does.
    pub fn try_run(&mut self, part: usize) -> tensor::Result<()> {
        self.laid.run(&mut self.device, self.parts[part].work)
    }

    /// Runs all parts in order; on a GPU as one recorded step.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self, recording: &mut Recording) -> tensor::Result<()> {
        let Rows { device, parts, laid } = self;
        device.replay(recording, |device| {
            parts.iter().try_for_each(|part| laid.run(device, part.work))
        })
    }

    /// The device that they run on.
    pub fn device(&mut self) -> &mut Device {
        &mut self.device
    }

    /// Runs `work` where the device's threads are.
    pub fn enter<T: Send>(self, work: impl FnOnce(Rows) -> T + Send) -> T {
        Device::enter_with(self, |rows| &rows.device, work)
    }
}

impl Laid {
    fn run(&self, device: &mut Device, work: Work) -> tensor::Result<()> {
        let network = self.network.network();
        let Slots { pixels, views, tints, mean, labels, probabilities, tally, table } = self.slots;
        match work {
            Work::Preprocess => {
                let x = network.input;
                let inputs = preprocess::Inputs { pixels, views, tints, mean };
                preprocess::forward(device, &self.preprocess, inputs, x)
            }
            Work::Forward(idx) => {
                let phase = match &self.network {
                    Planned::Train(_) => Phase::Train,
                    Planned::Infer(_) => Phase::Infer,
                };
                network.rows()[idx].forward(device, phase)
            }
            Work::Loss => {
                let (loss, scores) = (&self.loss, network.output);
                match &self.network {
                    Planned::Train(TrainableNetwork { d_output: d, .. }) => {
                        softmax_loss::forward_backward(device, loss, scores, labels, *d, tally)
                    }
                    Planned::Infer(_) => {
                        softmax_loss::forward(device, loss, scores, labels, probabilities, tally)
                    }
                }
            }
            Work::Backward(idx) => network.rows()[idx].backward(device),
            Work::Update => match &self.network {
                Planned::Train(network) => {
                    let (dw, w) = (network.gradients, network.parameters.values);
                    sgd::step(device, &self.segments, table, dw, w, network.velocities)
                }
                Planned::Infer(_) => Ok(()),
            },
        }
    }
}

/// The parts of a training step of `images` images, with nothing reserved to run them.
///
/// # Panics
/// If the network does not fit together.
pub(crate) fn parts_of(spec: &Spec, images: usize) -> Vec<Part> {
    let table = spec.describe().expect("a network that fits together");
    let classes = spec.classes().expect("a classifier");
    let (planner, target) = (&mut Planner::new(), Target::Cpu { threads: 1 });
    let network = Planned::new(spec, images, Mode::Train, planner, target);
    parts(&network.expect("a network that fits together"), &table, images, classes)
}

/// Every part with its floor in multiplications and bytes.
fn parts(planned: &Planned, table: &[layers::RowInfo], images: usize, classes: usize) -> Vec<Part> {
    let network = planned.network();
    const FLOAT: f64 = 4.0;
    let info = |name: &str| table.iter().find(|row| row.name == name).expect("a described row");
    let part = |name: &str, pass, flops: f64, bytes: f64, work| Part {
        name: name.to_string(),
        pass,
        flops,
        bytes,
        work,
    };
    let input = network.input.len() as f64;
    let mut parts =
        vec![part("preprocess", Pass::Forward, 0.0, input * (1.0 + FLOAT), Work::Preprocess)];
    for (idx, row) in network.rows().iter().enumerate() {
        let (macs, parameters) = (info(row.name()).macs, info(row.name()).parameters as f64);
        let (x, y) = (row.input().len() as f64, row.output().len() as f64);
        let flops = 2.0 * (macs * images) as f64;
        let bytes = FLOAT * (x + y + parameters);
        parts.push(part(row.name(), Pass::Forward, flops, bytes, Work::Forward(idx)));
    }
    let scores = FLOAT * (images * classes) as f64;
    parts.push(part("softmax_loss", Pass::Forward, 0.0, 2.0 * scores, Work::Loss));
    if let Planned::Infer(_) = planned {
        return parts;
    }
    let mut first = true;
    let mut backward = Vec::new();
    for (idx, row) in network.rows().iter().enumerate().filter(|(_, row)| row.has_backward()) {
        let (macs, parameters) = (info(row.name()).macs, info(row.name()).parameters as f64);
        let (x, y) = (row.input().len() as f64, row.output().len() as f64);
        // The first row that learns has no gradient of its input to compute.
        let products = if first { 1.0 } else { 2.0 };
        let flops = products * 2.0 * (macs * images) as f64;
        let dx = if first { 0.0 } else { x };
        let bytes = FLOAT * (x + y + dx + 2.0 * parameters);
        backward.push(part(row.name(), Pass::Backward, flops, bytes, Work::Backward(idx)));
        first = false;
    }
    parts.extend(backward.into_iter().rev());
    let update = 5.0 * FLOAT * network.parameters.count() as f64; // dw, w, v read; w, v written
    parts.push(part("sgd", Pass::Backward, 0.0, update, Work::Update));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::window;

    #[test]
    fn the_papers_step_takes_three_forward_passes_less_one_gradient() {
        let spec = models::find("alexnet").unwrap();
        let parts = parts_of(&spec, 2);
        let total: f64 = parts.iter().map(|part| part.flops).sum();
        let expected = 2.0 * 2.0 * (3.0 * 724_406_816.0 - 105_415_200.0);
        assert_eq!(total, expected);
        assert_eq!(parts.last().unwrap().bytes, 20.0 * 60_965_224.0);
    }

    #[test]
    fn a_test_is_the_way_forward() {
        let spec = Spec::image("tiny", 8, 8, 3).conv("conv1", 4, window(3)).linear("fc2", 10);
        let recipe = train::recipes::paper();
        let mut rows = Rows::on(Device::cpu(1), &spec, &recipe, Mode::Infer, 2).unwrap();
        let names: Vec<&str> = rows.parts().iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["preprocess", "conv1", "fc2", "softmax_loss"]);
        assert!(rows.parts().iter().all(|part| part.pass == Pass::Forward));
        (0..rows.parts().len()).for_each(|part| rows.run(part));
        let probabilities: Vec<f32> = rows.device.download(rows.laid.slots.probabilities).unwrap();
        let sums = probabilities.chunks(10).map(|image| image.iter().sum::<f32>());
        sums.for_each(|sum| assert!((sum - 1.0).abs() < 1e-5, "{probabilities:?}"));
    }
}
