//! A step split into parts: the passes of every row, preprocessing, loss and update.

mod parts;

use crate::step_part::{Operation, StepPart};
use crate::{StepMode, noise};
use kernels::{preprocess, sgd, softmax_loss};
use layers::{Clock, Network, Phase, Spec, SpecError, TrainableNetwork};
pub(crate) use parts::parts_of;
use tensor::{DType, Device, Planner, Recording, Shape, Slot, Target};
use train::recipe::Recipe;

/// A network with random pixels, run part by part.
#[derive(Debug)]
pub struct SplitStep {
    device: Device,
    parts: Vec<StepPart>,
    layout: Layout,
}

/// The network and its slots.
#[derive(Debug)]
struct Layout {
    network: PlannedNetwork,
    slots: StepSlots,
    preprocess: preprocess::Geometry,
    loss: softmax_loss::Geometry,
    segments: Vec<sgd::Segment>,
}

#[derive(Debug)]
enum PlannedNetwork {
    Train(TrainableNetwork),
    Infer(Network),
}

impl PlannedNetwork {
    fn new(
        spec: &Spec,
        images: usize,
        mode: StepMode,
        planner: &mut Planner,
        target: Target,
    ) -> Result<PlannedNetwork, SpecError> {
        Ok(match mode {
            StepMode::Train => {
                PlannedNetwork::Train(TrainableNetwork::plan(spec, images, planner, target)?)
            }
            StepMode::Infer => PlannedNetwork::Infer(Network::plan(spec, images, planner, target)?),
        })
    }

    fn network(&self) -> &Network {
        match self {
            PlannedNetwork::Train(network) => network,
            PlannedNetwork::Infer(network) => network,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct StepSlots {
    pixels: Slot,
    views: Slot,
    tints: Slot,
    mean: Slot,
    labels: Slot,
    probabilities: Slot,
    tally: Slot,
    table: Slot,
}

impl SplitStep {
    /// Plans training steps of `images` images on `threads` threads (0: one per core), with
    /// the recipe's initial weights and rates.
    ///
    /// # Panics
    /// If the network does not fit together, or into memory.
    pub fn plan(spec: &Spec, recipe: &Recipe, images: usize, threads: usize) -> SplitStep {
        let device = Device::cpu(threads);
        SplitStep::on(device, spec, recipe, StepMode::Train, images).expect("enough memory")
    }

    /// Plans training or inference steps of `images` images on a device.
    ///
    /// # Errors
    /// If the device lacks memory or an op, or fails.
    ///
    /// # Panics
    /// If the network does not fit together.
    pub fn on(
        mut device: Device,
        spec: &Spec,
        recipe: &Recipe,
        mode: StepMode,
        images: usize,
    ) -> tensor::Result<SplitStep> {
        let [height, width, _] = spec.input;
        let classes = spec.classes().expect("a classifier");
        let table = spec.describe().expect("a network that fits together");
        let trainable = table.iter().filter(|row| row.parameters > 0).count();
        let mut planner = Planner::new();
        let mut floats = |shape| planner.claim(DType::F32, shape);
        let (tints, mean) =
            (floats(Shape::from([images, preprocess::TINTS])), floats(Shape::from([3])));
        let tally = floats(softmax_loss::tally_shape(images));
        let probabilities = floats(Shape::from([images, classes]));
        let rates = floats(Shape::from([2 * trainable, 3]));
        let slots = StepSlots {
            pixels: planner.claim(DType::U8, Shape::from([images, height, width, 3])),
            views: planner.claim(DType::U32, Shape::from([images, 3])),
            labels: planner.claim(DType::U32, Shape::from([images])),
            tints,
            mean,
            probabilities,
            tally,
            table: rates,
        };
        let network = PlannedNetwork::new(spec, images, mode, &mut planner, device.target())
            .expect("a network that fits together");
        device.check_room(planner.total())?;
        let entries = &network.network().parameters.entries;
        let segments: Vec<_> = entries
            .iter()
            .map(|entry| sgd::Segment { start: entry.start, len: entry.len() })
            .collect();
        let parts = parts::parts(spec, &network, &table, images, classes);
        let layout = Layout {
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
        device.rehearse(|device| {
            parts.iter().try_for_each(|part| layout.run(device, part.operation))
        })?;
        device.reserve(planner.total())?;
        let mut rows = SplitStep { device, parts, layout };
        rows.fill(recipe, images, classes)?;
        Ok(rows)
    }

    /// Uploads random pixels and the recipe's initial weights and learning rates.
    fn fill(&mut self, recipe: &Recipe, images: usize, classes: usize) -> tensor::Result<()> {
        let StepSlots { pixels, tints, mean, labels, table, .. } = self.layout.slots;
        let (device, network) = (&mut self.device, self.layout.network.network());
        let parameters = &network.parameters;
        device.upload(pixels, &noise(pixels.len()))?;
        let [red, green, blue] = recipe.input.scale.channels().map(|scale| scale as f32);
        device.upload(tints, [red, green, blue, 0.0, 0.0, 0.0].repeat(images).as_slice())?;
        device.upload(mean, &[127.5f32; 3])?;
        let class_of_each: Vec<u32> = (0..images).map(|image| (image % classes) as u32).collect();
        device.upload(labels, &class_of_each)?;
        network.set_clock(device, Clock::new(1, 1, images as u32))?;
        for (ordinal, entry) in parameters.entries.iter().enumerate() {
            let mut values = vec![0.0; entry.len()];
            let init = recipe.rule(&entry.name).init.for_fan_in(entry.fan_in);
            init.fill(0, ordinal, entry.fan_in, &mut values);
            parameters.upload(device, ordinal, &values)?;
        }
        network.prepare(device)?;
        let state = train::schedule::ScheduleState::default();
        let setting = recipe.setting_of_epoch(&state, 1);
        let rates: Vec<[f32; 3]> =
            parameters.entries.iter().map(|e| recipe.table_row(&e.name, &setting)).collect();
        device.upload(table, rates.as_flattened())
    }

    /// The parts of a step, in their order.
    pub fn parts(&self) -> &[StepPart] {
        &self.parts
    }

    /// Runs a part. The parts must run in order: each reads results of the ones before it.
    ///
    /// # Panics
    /// If the device fails.
    pub fn run(&mut self, part: usize) {
        self.try_run(part).expect("the device works");
    }

    /// [`run`](Self::run), for devices that may fail.
    ///
    /// # Errors
    /// If the device fails.
    pub fn try_run(&mut self, part: usize) -> tensor::Result<()> {
        self.layout.run(&mut self.device, self.parts[part].operation)
    }

    /// Runs all parts in order; on a GPU as a replayed recording.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self, recording: &mut Recording) -> tensor::Result<()> {
        let SplitStep { device, parts, layout } = self;
        device.replay(recording, |device| {
            parts.iter().try_for_each(|part| layout.run(device, part.operation))
        })
    }

    /// The device.
    pub fn device(&mut self) -> &mut Device {
        &mut self.device
    }

    /// Runs `work` on the device's threads.
    pub fn enter<T: Send>(self, work: impl FnOnce(SplitStep) -> T + Send) -> T {
        Device::enter_with(self, |rows| &rows.device, work)
    }
}

impl Layout {
    fn run(&self, device: &mut Device, operation: Operation) -> tensor::Result<()> {
        let network = self.network.network();
        let StepSlots { pixels, views, tints, mean, labels, probabilities, tally, table } =
            self.slots;
        match operation {
            Operation::Preprocess => {
                let x = network.input;
                let inputs = preprocess::Inputs { pixels, views, tints, mean };
                preprocess::forward(device, &self.preprocess, inputs, x)
            }
            Operation::Forward(idx) => {
                let phase = match &self.network {
                    PlannedNetwork::Train(_) => Phase::Train,
                    PlannedNetwork::Infer(_) => Phase::Infer,
                };
                network.rows()[idx].forward(device, phase)
            }
            Operation::Loss => {
                let (loss, scores) = (&self.loss, network.output);
                match &self.network {
                    PlannedNetwork::Train(TrainableNetwork { d_output: d, .. }) => {
                        softmax_loss::forward_backward(device, loss, scores, labels, *d, tally)
                    }
                    PlannedNetwork::Infer(_) => {
                        softmax_loss::forward(device, loss, scores, labels, probabilities, tally)
                    }
                }
            }
            Operation::Backward(idx) => network.rows()[idx].backward(device),
            Operation::Update => match &self.network {
                PlannedNetwork::Train(network) => {
                    let (dw, w) = (network.gradients, network.parameters.values);
                    sgd::step(device, &self.segments, table, dw, w, network.velocities)
                }
                PlannedNetwork::Infer(_) => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step_part::Pass;
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
    fn inference_has_forward_passes_only() {
        let spec = Spec::image("tiny", 8, 8, 3).conv("conv1", 4, window(3)).linear("fc2", 10);
        let recipe = train::recipes::paper();
        let mut rows = SplitStep::on(Device::cpu(1), &spec, &recipe, StepMode::Infer, 2).unwrap();
        let names: Vec<&str> = rows.parts().iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["preprocess", "conv1", "fc2", "softmax_loss"]);
        assert!(rows.parts().iter().all(|part| part.pass == Pass::Forward));
        (0..rows.parts().len()).for_each(|part| rows.run(part));
        let probabilities: Vec<f32> =
            rows.device.download(rows.layout.slots.probabilities).unwrap();
        let sums = probabilities.chunks(10).map(|image| image.iter().sum::<f32>());
        sums.for_each(|sum| assert!((sum - 1.0).abs() < 1e-5, "{probabilities:?}"));
    }
}
