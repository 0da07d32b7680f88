//! A step: upload, preprocess, forward, loss, backward, update, over fixed addresses.

use crate::recipe::{Mean, Recipe};
use crate::schedule::Setting;
use crate::weights::Weights;
use crate::{Error, Result, finite, metrics::Tally};
use data::Batch;
use kernels::{preprocess, sgd, softmax_loss};
use layers::{Mode, Network, Phase, Role, Spec};
use std::path::Path;
use tensor::{DType, Device, Planner, Recording, Shape, Slot};

/// A network with everything around it laid out, before any memory is taken.
#[derive(Debug)]
pub struct Plan {
    network: Network,
    slots: Slots,
    preprocess: preprocess::Geometry,
    loss: softmax_loss::Geometry,
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
        let classes = spec.classes()?;
        let learned = spec.describe()?.iter().filter(|row| row.parameters > 0).count();
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
            probabilities: claim(DType::F32, Shape::from([images, classes])),
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
            loss: softmax_loss::Geometry { images, classes },
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

    /// Finds out whether `device` can run this plan: it has room, and a form of every op.
    ///
    /// # Errors
    /// [`Error::Device`] with what is missing.
    pub fn check(&self, device: &mut Device) -> Result<()> {
        device.check_room(self.bytes)?;
        match self.network.d_output {
            None => device.rehearse(|device| self.look(device))?,
            Some(_) => device.rehearse(|device| {
                self.forward(device)?;
                self.backward(device)
            })?,
        }
        Ok(())
    }

    /// Images to loss, its gradient and the tally.
    fn forward(&self, device: &mut Device) -> tensor::Result<()> {
        let (network, slots) = (&self.network, &self.slots);
        let d_output = network.d_output.expect("a network planned for training");
        self.preprocess(device)?;
        network.forward(device, Phase::Train)?;
        let (logits, labels) = (network.output, slots.labels);
        softmax_loss::forward_backward(device, &self.loss, logits, labels, d_output, slots.tally)
    }

    /// The loss's gradient to new parameters.
    fn backward(&self, device: &mut Device) -> tensor::Result<()> {
        self.network.backward(device)?;
        let parameters = &self.network.parameters;
        let (Some(dw), Some(v)) = (parameters.gradients, parameters.velocities) else {
            unreachable!("a network planned for training has gradients");
        };
        sgd::step(device, &self.segments, self.slots.table, dw, parameters.values, v)
    }

    /// Images to probabilities and the tally.
    fn look(&self, device: &mut Device) -> tensor::Result<()> {
        let (network, slots) = (&self.network, &self.slots);
        self.preprocess(device)?;
        network.forward(device, Phase::Test)?;
        let (logits, probabilities) = (network.output, slots.probabilities);
        softmax_loss::forward(device, &self.loss, logits, slots.labels, probabilities, slots.tally)
    }

    fn preprocess(&self, device: &mut Device) -> tensor::Result<()> {
        let Slots { pixels, views, tints, mean, .. } = self.slots;
        let x = self.network.input;
        preprocess::forward(device, &self.preprocess, pixels, views, tints, mean, x)
    }

    /// Takes the memory.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough.
    pub fn open(self, mut device: Device) -> Result<Step> {
        device.reserve(self.bytes)?;
        let scaled_tints = vec![0.0; self.slots.tints.len()];
        Ok(Step {
            plan: self,
            device,
            recorded: Recorded::default(),
            scale: 1.0,
            scaled_tints,
            table: Vec::new(),
            seed: 0,
        })
    }
}

/// A planned network on a device, ready to learn or to be tested.
#[derive(Debug)]
pub struct Step {
    plan: Plan,
    device: Device,
    recorded: Recorded,
    scale: f32,
    scaled_tints: Vec<f32>,
    table: Vec<[f32; 3]>,
    seed: u64,
}

/// A card's recordings of what a step does again and again.
#[derive(Debug, Default)]
struct Recorded {
    forward: Recording,
    backward: Recording,
    look: Recording,
}

impl Step {
    /// Gives every parameter its initial value and the velocities zero.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn initialize(&mut self, recipe: &Recipe, seed: u64) -> Result<()> {
        self.seed = seed;
        let parameters = &self.plan.network.parameters;
        for (ordinal, entry) in parameters.entries.iter().enumerate() {
            let init = recipe.rule(&entry.name).init.for_fan_in(entry.fan_in);
            let mut values = vec![0.0; entry.len()];
            init.fill(seed, ordinal, entry.fan_in, &mut values);
            self.device.upload(parameters.value(ordinal), &values)?;
        }
        if let Some(velocities) = parameters.velocities {
            self.device.upload(velocities, &vec![0.0f32; velocities.len()])?;
        }
        Ok(())
    }

    /// Takes trained parameters instead.
    ///
    /// # Errors
    /// [`Error::Weights`] naming `path` if they are not this network's.
    pub fn upload_weights(&mut self, weights: &Weights, path: &Path) -> Result<()> {
        weights.upload(&mut self.device, &self.plan.network.parameters, path)
    }

    /// Sets what is subtracted from every image, and what the difference is multiplied by.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Panics
    /// If the mean is not of the planned size.
    pub fn set_input(&mut self, mean: &[f32], scale: f64) -> Result<()> {
        assert_eq!(mean.len(), self.plan.slots.mean.len(), "the mean is of another size");
        self.device.upload(self.plan.slots.mean, mean)?;
        self.scale = scale as f32;
        Ok(())
    }

    /// Sets rates and decays, for the steps that follow.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        let entries = self.plan.network.parameters.entries.iter();
        self.table.clear();
        self.table.extend(entries.map(|entry| recipe.table_row(&entry.name, setting)));
        self.device.upload(self.plan.slots.table, self.table.as_flattened())?;
        Ok(())
    }

    /// Learns from a batch: step number `step`, counted from one, which names the dropout masks.
    ///
    /// Nothing is allocated here, and the device's memory is where the plan put it.
    ///
    /// # Errors
    /// [`Error::Diverged`], before the update, if the loss is not a number; [`Error::Device`].
    pub fn train(&mut self, batch: &Batch, step: u64) -> Result<Tally> {
        self.load(batch)?;
        let Step { plan, device, recorded, .. } = self;
        let clock = [self.seed as u32, (self.seed >> 32) as u32, step as u32];
        device.upload(plan.network.clock, &clock)?;
        device.replay(&mut recorded.forward, |device| plan.forward(device))?;
        let tally = self.tally()?;
        if !tally.loss.is_finite() {
            return Err(self.diverged(step, tally));
        }
        let Step { plan, device, recorded, .. } = self;
        device.replay(&mut recorded.backward, |device| plan.backward(device))?;
        Ok(tally)
    }

    /// Looks at a batch without learning. [`probabilities`](Self::probabilities) are then those of
    /// its images.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn test(&mut self, batch: &Batch) -> Result<Tally> {
        self.load(batch)?;
        let Step { plan, device, recorded, .. } = self;
        device.replay(&mut recorded.look, |device| plan.look(device))?;
        self.tally()
    }

    /// The probabilities of the last tested images, row by row; as many as there is room for.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn probabilities(&self, into: &mut [f32]) -> Result<()> {
        self.device.download_into(self.plan.slots.probabilities, into)?;
        Ok(())
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        let (slots, device) = (&self.plan.slots, &mut self.device);
        device.upload(slots.pixels, &batch.pixels)?;
        device.upload(slots.views, batch.views.as_flattened())?;
        device.upload(slots.labels, &batch.labels)?;
        let scaled = self.scaled_tints.iter_mut().zip(batch.tints.as_flattened());
        scaled.for_each(|(scaled, tint)| *scaled = tint * self.scale);
        device.upload(slots.tints, &self.scaled_tints[..4 * batch.tints.len()])?;
        Ok(())
    }

    fn tally(&self) -> Result<Tally> {
        let mut sums = [0.0; 4];
        self.device.download_into(self.plan.slots.tally, &mut sums)?;
        Ok(Tally::from_kernel(sums))
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
        self.plan.loss.images
    }

    /// Classes told apart.
    pub fn classes(&self) -> usize {
        self.plan.loss.classes
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
