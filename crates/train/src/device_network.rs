//! A planned network on its device; shared by all executors.

use crate::checkpoint::Checkpoint;
use crate::init::Pretrained;
use crate::optimizer::Clip;
use crate::plan::SingleDevicePlan;
use crate::recipe::Recipe;
use crate::schedule::{ScheduleState, Setting};
use crate::start::{InitialState, Start};
use crate::stats::LayerStats;
use crate::{Error, Result, finite};
use data::{Batch, IGNORED};
use evaluate::Tally;
use kernels::denormal::upload;
use layers::{Clock, Parameter, Role};
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
    /// The norms of blocks of gradients, if they are clipped.
    norms: Vec<f32>,
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
        let norms = vec![0.0; plan.optimizer.clip().map_or(0, Clip::buffer)];
        Ok(DeviceNetwork { plan, device, rates: Vec::new(), norms, seed: 0 })
    }

    /// Loads the initial state. Learning rates are those of the recipe's first epoch; after a
    /// checkpoint they must be [set](Self::set_rates) before the first step.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Weights`] if the parameters are another network's;
    /// [`Error::Recipe`] if the recipe's optimizer is not the plan's; [`Error::Device`].
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
        self.rates.clear();
        self.set_input(&start.mean.values, start.scale)?;
        self.plan.frame.set_loss(start.loss.clone());
        if let Some(clip) = self.plan.optimizer.clip() {
            self.device.upload(clip.norms, &self.norms[..clip.norms.len()])?; // zeros
        }
        match &start.state {
            InitialState::Fresh { recipe, inherit } => {
                self.set_rates(recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1))?;
                self.draw(recipe, share)?;
                if let Some(init) = inherit {
                    init.check_velocities(recipe.optimizer)?;
                    self.inherit(init, all, share)?;
                }
                self.begin_average()
            }
            InitialState::Checkpoint(checkpoint) => self.restore(checkpoint, share),
        }
    }

    /// Initializes all parameters, and sets velocities to zero.
    fn draw(&mut self, recipe: &Recipe, share: &dyn Fn(&Parameter) -> Share) -> Result<()> {
        let parameters = &self.plan.network.parameters;
        for (ordinal, entry) in parameters.entries.iter().enumerate() {
            let of_recipe = || recipe.rule(&entry.name).init.for_fan_in(entry.fan_in);
            let init = entry.initial.unwrap_or_else(of_recipe);
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
            upload(&mut self.device, self.plan.network.velocity(idx), &velocity[own.clone()])?;
            let here = |block: Slot| block.part(entry.start, entry.shape);
            if let Some(second) = self.plan.optimizer.second_moments() {
                let values = &checkpoint.second_moment(&entry.name, whole)?[own.clone()];
                upload(&mut self.device, here(second), values)?;
            }
            if let Some(average) = self.plan.optimizer.average() {
                let values = &checkpoint.average(&entry.name, whole)?[own];
                upload(&mut self.device, here(average.block), values)?;
            }
        }
        Ok(())
    }

    /// The average of the weights that the run begins with.
    fn begin_average(&mut self) -> Result<()> {
        let Some(average) = self.plan.optimizer.average() else { return Ok(()) };
        let values = self.device.download::<f32>(self.plan.network.parameters.values)?;
        Ok(self.device.upload(average.block, &values)?)
    }

    /// The blocks of the optimizer's state, in the order of a snapshot.
    pub fn state(&self) -> impl Iterator<Item = Slot> {
        let SingleDevicePlan { network, optimizer, .. } = &self.plan;
        std::iter::once(network.velocities).chain(optimizer.other_state())
    }

    /// Copies all parameters, and all blocks of the optimizer's state one after the other.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn snapshot(&self, values: &mut Vec<f32>, state: &mut Vec<f32>) -> Result<()> {
        let from = self.plan.network.parameters.values;
        values.resize(from.len(), 0.0);
        self.device.download_into(from, values)?;
        state.resize(from.len() * self.state().count(), 0.0);
        for (block, into) in self.state().zip(state.chunks_exact_mut(from.len().max(1))) {
            self.device.download_into(block, into)?;
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
    /// [`Error::Recipe`] if the recipe's optimizer is not the plan's; [`Error::Device`].
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        let DeviceNetwork { plan, device, rates, .. } = self;
        plan.optimizer.rule().check(recipe)?;
        let entries = plan.network.parameters.entries.iter();
        rates.clear();
        rates.extend(entries.map(|entry| recipe.table_row(&entry.name, setting)));
        plan.optimizer.set_rates(device, rates)
    }

    /// Sets rate, momentum and decay of every parameter, in their order.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates_by(&mut self, rows: impl Iterator<Item = [f32; 3]>) -> Result<()> {
        self.rates.clear();
        self.rates.extend(rows);
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
        let clock = Clock::new(self.seed, moment as u32, images as u32);
        Ok(self.plan.network.set_clock(&mut self.device, clock)?)
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
        self.begin_update(step)
    }

    /// Prepares the update of step number `step`, counted from one.
    ///
    /// # Errors
    /// [`Error::Recipe`] if learning rates are not set; [`Error::Device`].
    pub fn begin_update(&mut self, step: u64) -> Result<()> {
        let DeviceNetwork { plan, device, rates, .. } = self;
        if rates.len() != plan.network.parameters.entries.len() {
            return Err(Error::Recipe(format!(
                "step {step}: learning rates are not set: call set_rates before the first step after \
                 a checkpoint"
            )));
        }
        plan.optimizer.begin_step(device, &plan.network.parameters.entries, rates, step)
    }

    /// Where gradients are clipped: limits their values, and computes norms, which ranks then
    /// exchange. Statistics are those of the gradients before that.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn limit_gradients(&mut self, stats: Option<&mut LayerStats>) -> Result<()> {
        let DeviceNetwork { plan, device, rates, norms, .. } = self;
        let Some(clip) = plan.optimizer.clip() else { return Ok(()) };
        if let Some(stats) = stats {
            stats.before_clipping(device, plan)?;
        }
        Ok(clip.limit(device, plan.network.gradients, rates, norms)?)
    }

    /// Where gradients are clipped: limits the norm of all of them.
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::Device`].
    pub fn scale_gradients(&mut self, step: u64) -> Result<()> {
        let DeviceNetwork { plan, device, norms, .. } = self;
        match plan.optimizer.clip() {
            None => Ok(()),
            Some(clip) => clip.scale(device, plan.network.gradients, norms, step),
        }
    }

    /// After the update of a step: updates the average of the weights, if the recipe has one.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn average(&mut self, step: u64) -> Result<()> {
        let DeviceNetwork { plan, device, .. } = self;
        match plan.optimizer.average() {
            None => Ok(()),
            Some(average) => average.update(device, plan.network.parameters.values, step),
        }
    }

    /// As [`Executor::use_average`](crate::executor::Executor::use_average).
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn use_average(&mut self, averaged: bool) -> Result<()> {
        let DeviceNetwork { plan, device, .. } = self;
        match plan.optimizer.average() {
            None => Ok(()),
            Some(average) => average.exchange(device, &plan.network, averaged),
        }
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
