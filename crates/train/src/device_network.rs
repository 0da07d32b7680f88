//! A network on a device with everything around it: what all ways of training have in common.

use crate::checkpoint::Checkpoint;
use crate::init::Init;
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
    /// Where everything is.
    pub plan: SingleDevicePlan,
    /// The device, with the plan's memory.
    pub device: Device,
    rates: Vec<[f32; 3]>,
    seed: u64,
}

/// The whole parameter's shape, and which of its numbers a device has. Filters and units come first
/// in a shape, so what a device has is a run.
pub type Share = (Shape, Range<usize>);

/// A device that has all of every parameter.
pub fn whole(entry: &Parameter) -> Share {
    (entry.shape, 0..entry.len())
}

impl DeviceNetwork {
    /// Takes the memory. Nothing is in it yet.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough.
    pub fn open(plan: SingleDevicePlan, mut device: Device) -> Result<DeviceNetwork> {
        device.reserve(plan.bytes)?;
        Ok(DeviceNetwork { plan, device, rates: Vec::new(), seed: 0 })
    }

    /// Fills it with what training starts from: of each parameter the numbers that `share` gives.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Weights`] if they are not this network's;
    /// [`Error::Device`].
    pub fn start(&mut self, start: &Start, share: &dyn Fn(&Parameter) -> Share) -> Result<()> {
        let entries = self.plan.network.parameters.entries.clone();
        self.start_part(start, &entries, share)
    }

    /// As [`start`](Self::start), of a part of a network that has the parameters `all`.
    ///
    /// # Errors
    /// As there.
    pub fn start_part(
        &mut self,
        start: &Start,
        all: &[Parameter],
        share: &dyn Fn(&Parameter) -> Share,
    ) -> Result<()> {
        self.seed = start.seed;
        self.set_input(&start.mean.values, start.scale)?;
        match &start.state {
            InitialState::Fresh { recipe, inherit } => {
                self.draw(recipe, share)?;
                inherit.as_ref().map_or(Ok(()), |init| self.inherit(init, all, share))
            }
            InitialState::Checkpoint(checkpoint) => self.restore(checkpoint, share),
        }
    }

    /// Gives every parameter its initial value and the velocities zero.
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

    /// Takes some parameters over from another run.
    fn inherit(
        &mut self,
        init: &Init,
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

    /// Takes parameters and velocities as a checkpoint has them.
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

    /// Copies all parameters and velocities, each as one block; behind Adam's first moments, which
    /// are its velocities, the second ones.
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

    /// Sets what is subtracted from every image, and what the difference is multiplied by.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Panics
    /// If the mean is not of the planned size.
    pub fn set_input(&mut self, mean: &[f32], scale: f64) -> Result<()> {
        Ok(self.plan.frame.set_input(&mut self.device, mean, scale)?)
    }

    /// Sets rates and decays, for the steps that follow.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        self.set_rates_by(|name| recipe.table_row(name, setting))
    }

    /// Sets the rate, the momentum and the decay of every parameter, by its name.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates_by(&mut self, row: impl Fn(&str) -> [f32; 3]) -> Result<()> {
        self.rates.clear();
        self.rates
            .extend(self.plan.network.parameters.entries.iter().map(|entry| row(&entry.name)));
        self.plan.optimizer.set_rates(&mut self.device, &self.rates)
    }

    /// Sends a batch to its slots.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn load(&mut self, batch: &Batch) -> Result<()> {
        self.load_rows(batch, 0..batch.labels.len())
    }

    /// Sends some rows of a batch to their slots.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn load_rows(&mut self, batch: &Batch, rows: Range<usize>) -> Result<()> {
        Ok(self.plan.frame.load(&mut self.device, batch, rows)?)
    }

    /// Before a pass: what the network has to know of a batch, or of a part of it. `moment` names
    /// its dropout masks; labels say how many of the images are no padding.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_clock(&mut self, moment: u64, labels: &[u32]) -> Result<()> {
        let images = labels.iter().filter(|&&label| label != IGNORED).count();
        let [low, high] = self.seed_words();
        let clock = [low, high, moment as u32, images as u32, 1f32.to_bits()];
        Ok(self.device.upload(self.plan.network.clock, &clock)?)
    }

    /// The seed's halves, the lower first.
    pub fn seed_words(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// Before step number `step`, counted from one, on images with these labels.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn begin_step(&mut self, step: u64, labels: &[u32]) -> Result<()> {
        self.set_clock(step, labels)?;
        let DeviceNetwork { plan, device, rates, .. } = self;
        plan.optimizer.begin_step(device, &plan.network.parameters.entries, rates, step)
    }

    /// Does a pass; on a GPU, what was recorded when it was done first.
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

    /// The tally of the last pass. Its loss must be a number: this is asked before the update.
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

    /// Statistics of the layers that are here, and of rectified outputs of others.
    pub fn new_stats<'a>(&self, others: impl Iterator<Item = (&'a str, Slot)>) -> LayerStats {
        LayerStats::with_others(&self.plan.network, others)
    }

    /// Runs `work` where the device's threads are: a loop of steps inside hands nothing over.
    pub fn enter<T: Send>(self, work: impl FnOnce(DeviceNetwork) -> T + Send) -> T {
        Device::enter_with(self, |net| &net.device, work)
    }
}
