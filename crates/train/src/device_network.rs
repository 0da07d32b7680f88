//! A planned network on its device; shared by all executors.

use crate::checkpoint::Checkpoint;
use crate::init::Pretrained;
use crate::plan::SingleDevicePlan;
use crate::recipe::Recipe;
use crate::schedule::Setting;
use crate::start::{InitialState, Start};
use crate::stats::LayerStats;
use crate::{Error, Result, finite};
use data::{Batch, IGNORED};
use evaluate::Tally;
use kernels::denormal::upload;
use layers::{Parameter, Role};
use std::ops::Range;
use tensor::{Device, Recording, Shape, Slot};

/// A planned network on its device.
#[derive(Debug)]
pub struct DeviceNetwork {
    /// The memory layout.
    pub plan: SingleDevicePlan,
    /// The device, with the plan's memory.
    pub device: Device,
    rates: Vec<[f32; 3]>,
    seed: u64,
}

/// The shape of a whole parameter, and the range of its elements that a device holds. Filters and
/// units are the first dimension, so the elements are contiguous.
pub type Share = (Shape, Range<usize>);

/// The share of a device that holds the whole parameter.
pub fn whole(entry: &Parameter) -> Share {
    (entry.shape, 0..entry.len())
}

impl DeviceNetwork {
    /// Allocates the memory, without loading parameters.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough memory.
    pub fn open(plan: SingleDevicePlan, mut device: Device) -> Result<DeviceNetwork> {
        device.reserve(plan.bytes)?;
        Ok(DeviceNetwork { plan, device, rates: Vec::new(), seed: 0 })
    }

    /// Loads the initial state.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Weights`] if the parameters are another network's;
    /// [`Error::Device`].
    pub fn start(&mut self, start: &Start, share: &dyn Fn(&Parameter) -> Share) -> Result<()> {
        let entries = self.plan.network.parameters.entries.clone();
        self.start_part(start, &entries, share)
    }

    /// As [`start`](Self::start), for a part of a network with the parameters `all`; `share`
    /// returns the elements that this device holds.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_part(
        &mut self,
        start: &Start,
        all: &[Parameter],
        share: &dyn Fn(&Parameter) -> Share,
    ) -> Result<()> {
        self.seed = start.seed;
        self.set_input(&start.mean.values, start.scale)?;
        self.plan.frame.set_loss(start.loss.clone());
        match &start.state {
            InitialState::Fresh { recipe, inherit } => {
                self.draw(recipe, share)?;
                inherit.as_ref().map_or(Ok(()), |init| self.inherit(init, all, share))
            }
            InitialState::Checkpoint(checkpoint) => self.restore(checkpoint, share),
        }
    }

    /// Initializes all parameters, and sets velocities to zero.
    fn draw(&mut self, recipe: &Recipe, share: &dyn Fn(&Parameter) -> Share) -> Result<()> {
        let parameters = &self.plan.network.parameters;
        for (ordinal, entry) in parameters.entries.iter().enumerate() {
            let init = recipe.rule(&entry.name).init.for_fan_in(entry.fan_in);
            let (whole, own) = share(entry);
            let mut values = vec![0.0; whole.len()];
            init.fill(self.seed, ordinal, entry.fan_in, &mut values);
            upload(&mut self.device, parameters.value(ordinal), &values[own])?;
        }
        let velocities = self.plan.network.velocities;
        let zeros = vec![0.0f32; velocities.len()];
        self.device.upload(velocities, &zeros)?;
        if let Some(second) = self.plan.optimizer.second_moments() {
            self.device.upload(second, &zeros)?;
        }
        Ok(())
    }

    /// Copies parameters of another run.
    fn inherit(
        &mut self,
        init: &Pretrained,
        all: &[Parameter],
        share: &dyn Fn(&Parameter) -> Share,
    ) -> Result<()> {
        if self.plan.optimizer.second_moments().is_some() && init.has_velocities() {
            let told = "velocities of another run are no moments of Adam's: take its weights alone";
            return Err(Error::Recipe(told.to_string()));
        }
        let own = |entry: &Parameter| share(entry).1;
        init.upload(&mut self.device, &self.plan.network, all, own)
    }

    /// Restores parameters and velocities from a checkpoint.
    fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        share: &dyn Fn(&Parameter) -> Share,
    ) -> Result<()> {
        let parameters = &self.plan.network.parameters;
        for (idx, entry) in parameters.entries.iter().enumerate() {
            let (whole, own) = share(entry);
            let (value, velocity) = checkpoint.parameter(&entry.name, whole)?;
            upload(&mut self.device, parameters.value(idx), &value[own.clone()])?;
            upload(&mut self.device, self.plan.network.velocity(idx), &velocity[own])?;
            if let Some(second) = self.plan.optimizer.second_moments() {
                let values = checkpoint.second_moment(&entry.name, whole)?;
                upload(&mut self.device, second.part(entry.start, entry.shape), values)?;
            }
        }
        Ok(())
    }

    /// Copies all parameters and velocities, each into one block; with Adam, the first moments
    /// followed by the second.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn snapshot(&self, values: &mut Vec<f32>, velocities: &mut Vec<f32>) -> Result<()> {
        let from = self.plan.network.velocities;
        let blocks = [self.plan.network.parameters.values, from];
        for (slot, into) in blocks.into_iter().zip([values, &mut *velocities]) {
            into.resize(slot.len(), 0.0);
            self.device.download_into(slot, into)?;
        }
        if let Some(second) = self.plan.optimizer.second_moments() {
            velocities.resize(from.len() + second.len(), 0.0);
            self.device.download_into(second, &mut velocities[from.len()..])?;
        }
        Ok(())
    }

    /// Sets the mean that is subtracted from images, and the factor of the difference.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Panics
    /// If the mean is not of the planned size.
    pub fn set_input(&mut self, mean: &[f32], scale: weights::Scale) -> Result<()> {
        Ok(self.plan.frame.set_input(&mut self.device, mean, scale)?)
    }

    /// Sets learning rates and weight decays of the steps that follow.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        self.set_rates_by(|name| recipe.table_row(name, setting))
    }

    /// Sets rate, momentum and decay of every parameter, by its name.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates_by(&mut self, row: impl Fn(&str) -> [f32; 3]) -> Result<()> {
        self.rates.clear();
        self.rates
            .extend(self.plan.network.parameters.entries.iter().map(|entry| row(&entry.name)));
        self.plan.optimizer.set_rates(&mut self.device, &self.rates)
    }

    /// Uploads a batch.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn load(&mut self, batch: &Batch) -> Result<()> {
        self.load_rows(batch, 0..batch.labels.len())
    }

    /// Uploads some rows of a batch.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn load_rows(&mut self, batch: &Batch, rows: Range<usize>) -> Result<()> {
        Ok(self.plan.frame.load(&mut self.device, batch, rows)?)
    }

    /// Uploads a batch with its targets, for training on the whole of it.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn load_training(&mut self, batch: &Batch) -> Result<()> {
        let labels = batch.labels.iter();
        let images = labels.filter(|&&label| label != IGNORED).count();
        let weights = self.plan.frame.weight_sum(batch);
        self.plan.frame.set_normaliser(images as f64, weights);
        self.load_training_rows(batch, 0..batch.labels.len())
    }

    /// Uploads some rows of a batch with their targets; the batch's normaliser is set before.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn load_training_rows(&mut self, batch: &Batch, rows: Range<usize>) -> Result<()> {
        self.load_rows(batch, rows.clone())?;
        Ok(self.plan.frame.load_targets(&mut self.device, batch, rows)?)
    }

    /// Prepares a pass over a batch or a part of it: sets the counter for which dropout masks are
    /// drawn, and the number of images that are not padding, by their labels.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_clock(&mut self, moment: u64, labels: &[u32]) -> Result<()> {
        let images = labels.iter().filter(|&&label| label != IGNORED).count();
        let [low, high] = self.seed_words();
        let clock = [low, high, moment as u32, images as u32, 1f32.to_bits()];
        Ok(self.device.upload(self.plan.network.clock, &clock)?)
    }

    /// The low and high halves of the seed.
    pub fn seed_words(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// Prepares step number `step`, counted from one, on images with these labels.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn begin_step(&mut self, step: u64, labels: &[u32]) -> Result<()> {
        self.set_clock(step, labels)?;
        let DeviceNetwork { plan, device, rates, .. } = self;
        plan.optimizer.begin_step(device, &plan.network.parameters.entries, rates, step)
    }

    /// Runs a pass; on a GPU, the first call records it and later calls replay it.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn replay(
        &mut self,
        recording: &mut Recording,
        pass: impl Fn(&SingleDevicePlan, &mut Device) -> tensor::Result<()>,
    ) -> Result<()> {
        let DeviceNetwork { plan, device, .. } = self;
        Ok(device.replay(recording, |device| pass(plan, device))?)
    }

    /// The tally of the last pass; called before the update, to check that the loss is finite.
    ///
    /// # Errors
    /// [`Error::Diverged`], [`Error::Device`].
    pub fn finite_tally(&self, step: u64) -> Result<Tally> {
        let tally = self.plan.frame.tally(&self.device)?;
        if tally.loss.is_finite() {
            return Ok(tally);
        }
        let rates = self.plan.network.parameters.entries.iter().zip(&self.rates);
        let rate = rates.filter(|(entry, _)| entry.role == Role::Weight).map(|(_, row)| row[0]);
        let rate = rate.fold(0.0f32, f32::max);
        Err(finite::diverged(&self.device, &self.plan.network, step, tally.loss, rate))
    }

    /// Empty statistics of this device's layers, and of rectified outputs of others.
    pub fn new_stats<'a>(&self, others: impl Iterator<Item = (&'a str, Slot)>) -> LayerStats {
        LayerStats::with_others(&self.plan.network, others)
    }
}
