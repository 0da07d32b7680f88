//! A step: upload, preprocess, forward, loss, backward, update, over fixed addresses.

mod across;
mod look;

pub use look::NoSuchLayer;

use crate::checkpoint::Checkpoint;
use crate::look::Look;
use crate::recipe::{Mean, Recipe};
use crate::schedule::Setting;
use crate::towers::Link;
use crate::weights::Weights;
use crate::{Error, Result, finite, metrics::Tally};
use data::Batch;
use kernels::{preprocess, sgd, softmax_loss};
use layers::{Mode, Network, Phase, Role, Row, Spec};
use std::path::Path;
use tensor::{DType, Device, Planner, Shape, Slot};

/// A network with everything around it laid out, before any memory is taken.
#[derive(Debug)]
pub struct Plan {
    network: Network,
    slots: Slots,
    preprocess: preprocess::Geometry,
    /// Absent in a tower without the classifier.
    loss: Option<softmax_loss::Geometry>,
    segments: Vec<sgd::Segment>,
    bytes: usize,
}

/// What surrounds the network.
#[derive(Clone, Copy, Debug)]
struct Slots {
    pixels: Slot,
    views: Slot,
    tints: Slot,
    labels: Slot,
    mean: Slot,
    /// Rate, momentum and decay of each parameter.
    table: Slot,
    probabilities: Slot,
    /// Loss, top-1 errors, top-5 errors, images.
    tally: Slot,
}

/// Where the bytes of a plan go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: usize,
    /// Weights, and in training their gradients and velocities.
    pub parameters: usize,
    /// Everything else: images, activations and their gradients, scratch.
    pub activations: usize,
}

impl Plan {
    /// Lays out a network for batches of `images` images, less a mean image of `stored` height and
    /// width or less a mean colour, on a device with `threads` threads.
    ///
    /// # Errors
    /// [`Error::Network`] if the rows do not fit together.
    pub fn new(
        spec: &Spec,
        images: usize,
        mode: Mode,
        (mean, stored): (Mean, [usize; 2]),
        threads: usize,
    ) -> Result<Plan> {
        let [height, width, channels] = spec.input;
        assert_eq!(channels, 3, "images have three channels");
        let learned = spec.describe()?.iter().filter(|row| row.parameters > 0).count();
        let classes = match spec.rows.last() {
            Some(Row::Exchange(_)) => None, // the classifier is on another tower
            _ => Some(spec.classes()?),
        };
        let mut planner = Planner::new();
        let mut claim = |dtype, shape| planner.claim(dtype, shape);
        // These live as long as the step; the network, planned after them, reuses its own as it
        // goes.
        let (mean, mean_form) = match mean {
            Mean::Color => (claim(DType::F32, Shape::from([3])), preprocess::Mean::Color),
            Mean::Image => {
                let [height, width] = stored;
                let slot = claim(DType::F32, Shape::from([height, width, 3]));
                (slot, preprocess::Mean::Image { height, width })
            }
        };
        let slots = Slots {
            pixels: claim(DType::U8, Shape::from([images, height, width, 3])),
            views: claim(DType::U32, Shape::from([images, 3])),
            tints: claim(DType::F32, Shape::from([images, 4])),
            labels: claim(DType::U32, Shape::from([images])),
            mean,
            table: claim(DType::F32, Shape::from([2 * learned, 3])),
            probabilities: claim(DType::F32, Shape::from([images, classes.unwrap_or(0)])),
            tally: claim(DType::F32, Shape::from([4])),
        };
        let network = Network::plan(spec, images, mode, &mut planner, threads)?;
        let entries = &network.parameters.entries;
        assert_eq!(entries.len(), 2 * learned, "a weight and a bias for each learned row");
        Ok(Plan {
            segments: entries
                .iter()
                .map(|entry| sgd::Segment { start: entry.start, len: entry.len() })
                .collect(),
            preprocess: preprocess::Geometry { images, height, width, mean: mean_form },
            loss: classes.map(|classes| softmax_loss::Geometry { images, classes }),
            bytes: planner.total(),
            network,
            slots,
        })
    }

    /// What it will take of the device's memory.
    pub fn memory(&self) -> Memory {
        let parameters = &self.network.parameters;
        let blocks = [Some(parameters.values), parameters.gradients, parameters.velocities];
        let parameters = blocks.iter().flatten().map(|block| block.range().len()).sum();
        Memory { total: self.bytes, parameters, activations: self.bytes - parameters }
    }

    /// Takes the memory.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough.
    pub fn open(self, mut device: Device) -> Result<Step> {
        device.reserve(self.bytes)?;
        let scaled_tints = vec![0.0; self.slots.tints.len()];
        let (table, link) = (Vec::new(), None);
        Ok(Step { plan: self, device, scale: 1.0, scaled_tints, table, seed: 0, link })
    }
}

/// A planned network on a device, ready to learn or to be tested.
#[derive(Debug)]
pub struct Step {
    plan: Plan,
    device: Device,
    scale: f32,
    scaled_tints: Vec<f32>,
    table: Vec<[f32; 3]>,
    seed: u64,
    /// To the other towers, if this is one.
    link: Option<Link>,
}

impl Step {
    /// Gives every parameter its initial value and the velocities zero.
    pub fn initialize(&mut self, recipe: &Recipe, seed: u64) {
        self.seed = seed;
        let parameters = &self.plan.network.parameters;
        for (ordinal, entry) in parameters.entries.iter().enumerate() {
            let init = recipe.rule(&entry.name).init.for_fan_in(entry.fan_in);
            let whole = self.link.as_ref().map_or(entry.len(), |link| link.whole_len(entry));
            let mut values = vec![0.0; whole];
            init.fill(seed, ordinal, entry.fan_in, &mut values);
            let own = self.link.as_ref().map_or(0..whole, |link| link.share(entry));
            self.device.upload(parameters.value(ordinal), &values[own]);
        }
        if let Some(velocities) = parameters.velocities {
            self.device.upload(velocities, &vec![0.0f32; velocities.len()]);
        }
    }

    /// Takes trained parameters instead.
    ///
    /// # Errors
    /// [`Error::Weights`] naming `path` if they are not this network's.
    pub fn upload_weights(&mut self, weights: &Weights, path: &Path) -> Result<()> {
        weights.upload(&mut self.device, &self.plan.network.parameters, path)
    }

    /// Takes parameters and velocities as a checkpoint has them.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if they are not this network's.
    pub(crate) fn restore(&mut self, checkpoint: &Checkpoint, seed: u64) -> Result<()> {
        self.seed = seed;
        let parameters = &self.plan.network.parameters;
        for (idx, entry) in parameters.entries.iter().enumerate() {
            let (value, velocity) = checkpoint.parameter(entry)?;
            self.device.upload(parameters.value(idx), value);
            let slot = parameters.velocity(idx).expect("a network planned for training");
            self.device.upload(slot, velocity);
        }
        Ok(())
    }

    /// Copies all parameters and velocities, each as one block.
    pub(crate) fn snapshot(&self, values: &mut Vec<f32>, velocities: &mut Vec<f32>) {
        let parameters = &self.plan.network.parameters;
        let from = parameters.velocities.expect("a network planned for training");
        for (slot, into) in [(parameters.values, values), (from, velocities)] {
            into.resize(slot.len(), 0.0);
            self.device.download_into(slot, into);
        }
    }

    /// Sets what is subtracted from every image, and what the difference is multiplied by.
    ///
    /// # Panics
    /// If the mean is not of the planned size.
    pub fn set_input(&mut self, mean: &[f32], scale: f64) {
        assert_eq!(mean.len(), self.plan.slots.mean.len(), "the mean is of another size");
        self.device.upload(self.plan.slots.mean, mean);
        self.scale = scale as f32;
    }

    /// Sets rates and decays, for the steps that follow.
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) {
        let entries = self.plan.network.parameters.entries.iter();
        self.table.clear();
        self.table.extend(entries.map(|entry| recipe.table_row(&entry.name, setting)));
        self.device.upload(self.plan.slots.table, self.table.as_flattened());
    }

    /// Learns from a batch: step number `step`, counted from one, which names the dropout masks.
    ///
    /// Nothing is allocated here, and the device's memory is where the plan put it.
    ///
    /// # Errors
    /// [`Error::Diverged`], before the update, if the loss is not a number; [`Error::Device`].
    pub fn train(&mut self, batch: &Batch, step: u64) -> Result<Tally> {
        self.learn(batch, step, None)
    }

    /// [`train`](Self::train), looking closely: that takes time, and still allocates nothing.
    ///
    /// # Errors
    /// As `train`.
    pub fn train_and_look(&mut self, batch: &Batch, step: u64, look: &mut Look) -> Result<Tally> {
        self.learn(batch, step, Some(look))
    }

    fn learn(&mut self, batch: &Batch, step: u64, mut look: Option<&mut Look>) -> Result<Tally> {
        self.load(batch);
        let Plan { network, slots, .. } = &self.plan;
        let clock = [self.seed as u32, (self.seed >> 32) as u32, step as u32];
        self.device.upload(network.clock, &clock);
        let (device, loss) = (&mut self.device, &self.plan.loss);
        let d_output = network.d_output.expect("a network planned for training");

        preprocess(device, &self.plan.preprocess, slots, network.input)?;
        across::forward(device, network, Phase::Train, self.link.as_mut())?;
        let logits = network.output;
        if let Some(loss) = loss {
            let (labels, tally) = (slots.labels, slots.tally);
            softmax_loss::forward_backward(device, loss, logits, labels, d_output, tally)?;
        }
        let tally = self.tally();
        if !tally.loss.is_finite() {
            return Err(self.diverged(step, tally));
        }
        if let Some(look) = &mut look {
            look.after_forward(&self.device, network);
        }
        across::backward(&mut self.device, network, self.link.as_mut())?;
        self.update()?;
        if let Some(look) = look {
            look.after_update(&self.device, self.network());
        }
        Ok(tally)
    }

    /// Looks at a batch without learning. [`probabilities`](Self::probabilities) are then those of
    /// its images.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn test(&mut self, batch: &Batch) -> Result<Tally> {
        self.load(batch);
        let (Plan { network, slots, loss, .. }, device) = (&self.plan, &mut self.device);
        preprocess(device, &self.plan.preprocess, slots, network.input)?;
        across::forward(device, network, Phase::Test, self.link.as_mut())?;
        let (logits, labels) = (network.output, slots.labels);
        if let Some(loss) = loss {
            softmax_loss::forward(device, loss, logits, labels, slots.probabilities, slots.tally)?;
        }
        Ok(self.tally())
    }

    /// The probabilities of the last tested images, row by row; as many as there is room for.
    pub fn probabilities(&self, into: &mut [f32]) {
        self.device.download_into(self.plan.slots.probabilities, into);
    }

    fn load(&mut self, batch: &Batch) {
        let (slots, device) = (&self.plan.slots, &mut self.device);
        device.upload(slots.pixels, &batch.pixels);
        device.upload(slots.views, batch.views.as_flattened());
        device.upload(slots.labels, &batch.labels);
        let scaled = self.scaled_tints.iter_mut().zip(batch.tints.as_flattened());
        scaled.for_each(|(scaled, tint)| *scaled = tint * self.scale);
        device.upload(slots.tints, &self.scaled_tints[..4 * batch.tints.len()]);
    }

    fn update(&mut self) -> Result<()> {
        let parameters = &self.plan.network.parameters;
        let (Some(dw), Some(v)) = (parameters.gradients, parameters.velocities) else {
            unreachable!("a network planned for training has gradients");
        };
        let (segments, table) = (&self.plan.segments, self.plan.slots.table);
        sgd::step(&mut self.device, segments, table, dw, parameters.values, v)?;
        Ok(())
    }

    /// What the classifier's tower knows; nothing on the others.
    fn tally(&self) -> Tally {
        let mut sums = [0.0; 4];
        self.device.download_into(self.plan.slots.tally, &mut sums);
        Tally::from_kernel(sums)
    }

    fn diverged(&self, step: u64, tally: Tally) -> Error {
        let rates = self.network().parameters.entries.iter().zip(&self.table);
        let rate = rates.filter(|(entry, _)| entry.role == Role::Weight).map(|(_, row)| row[0]);
        let rate = rate.fold(0.0f32, f32::max);
        finite::diverged(&self.device, &self.plan.network, step, tally.loss, rate)
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.plan.network
    }

    /// Images in a batch.
    pub fn images(&self) -> usize {
        self.plan.preprocess.images
    }

    /// Classes told apart; none in a tower without the classifier.
    pub fn classes(&self) -> usize {
        self.plan.loss.map_or(0, |loss| loss.classes)
    }

    /// What is subtracted from every image.
    pub fn mean(&self) -> Slot {
        self.plan.slots.mean
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where this plan's bytes go.
    pub fn memory(&self) -> Memory {
        self.plan.memory()
    }

    /// Runs `work` where the device's threads are: a loop of steps inside hands nothing over.
    pub fn enter<T: Send>(self, work: impl FnOnce(Step) -> T + Send) -> T {
        match &self.device {
            Device::Cpu(cpu) => {
                let pool = cpu.pool().clone();
                pool.install(|| work(self))
            }
            Device::Cuda(_) => work(self),
        }
    }
}

fn preprocess(
    device: &mut Device,
    geometry: &preprocess::Geometry,
    slots: &Slots,
    x: Slot,
) -> Result<()> {
    let Slots { pixels, views, tints, mean, .. } = *slots;
    preprocess::forward(device, geometry, pixels, views, tints, mean, x)?;
    Ok(())
}
