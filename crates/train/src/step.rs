//! A step: upload, preprocess, forward, loss, backward, update, over fixed addresses.

mod accord;
mod across;
mod adam;
mod look;
mod plan;
mod shards;

pub(crate) use accord::{Accord, Moment};
pub(crate) use adam::Adam;
pub use look::NoSuchLayer;
pub use plan::{Memory, Plan};

use crate::checkpoint::Checkpoint;
use crate::look::Look;
use crate::recipe::Recipe;
use crate::schedule::Setting;
use crate::towers::Link;
use crate::weights::Weights;
use crate::{Error, Result, finite, init::Init, metrics::Tally};
use data::{Batch, IGNORED};
use kernels::denormal::upload;
use layers::{Network, Parameter, Role};
use shards::Replica;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tensor::{Device, Recording, Shape, Slot};

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
    /// To the other towers, if this is one.
    link: Option<Link>,
    /// If its batches are cut into micro-shards.
    replica: Option<Replica>,
    /// If others are in processes of their own, and what towers heard from them last.
    accord: Option<Accord>,
    heard: Vec<f32>,
}

/// A card's recordings of what a step does again and again.
#[derive(Debug, Default)]
struct Recorded {
    forward: Recording,
    backward: Recording,
    test: Recording,
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
            let (whole, own) = share(&self.link, &self.plan, entry);
            let mut values = vec![0.0; whole.len()];
            init.fill(seed, ordinal, entry.fan_in, &mut values);
            upload(&mut self.device, parameters.value(ordinal), &values[own])?;
        }
        if let Some(velocities) = parameters.velocities {
            let zeros = vec![0.0f32; velocities.len()];
            self.device.upload(velocities, &zeros)?;
            if let Some(adam) = &self.plan.adam {
                self.device.upload(adam.second, &zeros)?;
            }
        }
        self.plan.network.prepare(&mut self.device)?;
        Ok(())
    }

    /// Takes some parameters over from another run, after [`initialize`](Self::initialize).
    ///
    /// # Errors
    /// [`Error::Weights`] if they are not this network's; [`Error::Device`].
    pub fn inherit(&mut self, init: &Init) -> Result<()> {
        let whole = self.plan.network.parameters.entries.clone();
        self.inherit_share(init, &whole)
    }

    /// As [`inherit`](Self::inherit), of a network with the parameters `whole`, which may be shared
    /// among towers.
    pub(crate) fn inherit_share(&mut self, init: &Init, whole: &[Parameter]) -> Result<()> {
        if self.plan.adam.is_some() && init.has_velocities() {
            let told = "velocities of another run are no moments of Adam's: take its weights alone";
            return Err(Error::Recipe(told.to_string()));
        }
        let share = |entry: &Parameter| share(&self.link, &self.plan, entry).1;
        init.upload(&mut self.device, &self.plan.network.parameters, whole, share)
    }

    /// Takes trained parameters instead.
    ///
    /// # Errors
    /// [`Error::Weights`] naming `path` if they are not this network's.
    pub fn upload_weights(&mut self, weights: &Weights, path: &Path) -> Result<()> {
        weights.upload(&mut self.device, &self.plan.network.parameters, path)?;
        self.plan.network.prepare(&mut self.device)?;
        Ok(())
    }

    /// Takes parameters and velocities as a checkpoint has them.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if they are not this network's; [`Error::Device`].
    pub(crate) fn restore(&mut self, checkpoint: &Checkpoint, seed: u64) -> Result<()> {
        self.seed = seed;
        let parameters = &self.plan.network.parameters;
        for (idx, entry) in parameters.entries.iter().enumerate() {
            let (whole, own) = share(&self.link, &self.plan, entry);
            let (value, velocity) = checkpoint.parameter(&entry.name, whole)?;
            upload(&mut self.device, parameters.value(idx), &value[own.clone()])?;
            let slot = parameters.velocity(idx).expect("a network planned for training");
            upload(&mut self.device, slot, &velocity[own])?;
            if let Some(adam) = &self.plan.adam {
                let second = checkpoint.second_moment(&entry.name, whole)?;
                upload(&mut self.device, adam.of(parameters, idx), second)?;
            }
        }
        Ok(())
    }

    /// Copies all parameters and velocities, each as one block; behind Adam's first moments, which
    /// are its velocities, the second ones. All replicas do it, or none.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::Comm`].
    pub(crate) fn snapshot(
        &mut self,
        values: &mut Vec<f32>,
        velocities: &mut Vec<f32>,
    ) -> Result<()> {
        self.share_out_velocities()?;
        let parameters = &self.plan.network.parameters;
        let from = parameters.velocities.expect("a network planned for training");
        for (slot, into) in [(parameters.values, values), (from, &mut *velocities)] {
            into.resize(slot.len(), 0.0);
            self.device.download_into(slot, into)?;
        }
        if let Some(adam) = &self.plan.adam {
            velocities.resize(from.len() + adam.second.len(), 0.0);
            self.device.download_into(adam.second, &mut velocities[from.len()..])?;
        }
        Ok(())
    }

    /// Copies parameters and velocities to where they belong in blocks of the whole network, which
    /// `entries` lay out. All replicas do it, or none: the first has all that they share.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::Comm`].
    pub(crate) fn snapshot_into(
        &mut self,
        entries: &[Parameter],
        to: &Mutex<[Vec<f32>; 2]>,
    ) -> Result<()> {
        self.share_out_velocities()?;
        let [values, velocities] = &mut *to.lock().unwrap_or_else(PoisonError::into_inner);
        self.place_own(entries, [values, velocities])
    }

    /// Copies this device's share to where it belongs in blocks of the whole network; of what all
    /// replicas have, if it is the first.
    fn place_own(&self, entries: &[Parameter], mut to: [&mut Vec<f32>; 2]) -> Result<()> {
        let is_first = self.plan.cut().is_none_or(|cut| cut.rank == 0);
        let parameters = &self.plan.network.parameters;
        for (idx, entry) in parameters.entries.iter().enumerate() {
            if !is_first && self.plan.units_of(0, entry).is_none() {
                continue;
            }
            let whole = entries.iter().find(|whole| whole.name == entry.name);
            let start = whole.expect("the whole has its towers' parameters").start;
            let (_, own) = share(&self.link, &self.plan, entry);
            let own = start + own.start..start + own.end;
            let velocity = parameters.velocity(idx).expect("a network planned for training");
            for (slot, to) in [parameters.value(idx), velocity].into_iter().zip(&mut to) {
                self.device.download_into(slot, &mut to[own.clone()])?;
            }
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
        assert_eq!(mean.len(), self.plan.slots.mean.len(), "the mean is of another size");
        upload(&mut self.device, self.plan.slots.mean, mean)?;
        self.scale = scale as f32;
        Ok(())
    }

    /// Sets rates and decays, for the steps that follow.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        self.set_table(|name| recipe.table_row(name, setting))
    }

    /// Sets the rate, the momentum and the decay of every parameter, by its name.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(crate) fn set_table(&mut self, row: impl Fn(&str) -> [f32; 3]) -> Result<()> {
        let entries = self.plan.network.parameters.entries.iter();
        self.table.clear();
        self.table.extend(entries.map(|entry| row(&entry.name)));
        self.device.upload(self.plan.table, self.table.as_flattened())?;
        Ok(())
    }

    /// Learns from a batch: step number `step`, counted from one, which names the dropout masks.
    ///
    /// Nothing is allocated here, and the device's memory is where the plan put it.
    ///
    /// # Errors
    /// [`Error::Diverged`], before the update, if the loss is not a number; [`Error::Device`].
    pub fn train(&mut self, batch: &Batch, step: u64) -> Result<Tally> {
        self.learn(batch, step, None).map_err(|error| error.at_step(step))
    }

    /// [`train`](Self::train), looking closely: that takes time, and still allocates nothing.
    ///
    /// # Errors
    /// As `train`.
    pub fn train_and_look(&mut self, batch: &Batch, step: u64, look: &mut Look) -> Result<Tally> {
        self.learn(batch, step, Some(look)).map_err(|error| error.at_step(step))
    }

    fn learn(&mut self, batch: &Batch, step: u64, mut look: Option<&mut Look>) -> Result<Tally> {
        if self.replica.is_some() {
            return self.learn_in_shards(batch, step, look);
        }
        self.load(batch)?;
        self.set_clock(step, &batch.labels)?;
        self.set_corrections(step)?;
        self.forward()?;
        let tally = self.tally()?;
        if !tally.loss.is_finite() {
            return Err(self.diverged(step, tally));
        }
        if let Some(look) = &mut look {
            look.after_forward(&self.device)?;
        }
        let told = self.tell(tally)?;
        self.backward()?;
        let Step { plan, device, .. } = self;
        if let Some(look) = look {
            look.after_update(device, plan)?;
        }
        told.map_or(Ok(tally), |told| self.hear(told))
    }

    /// Tells the network what it has to know of a batch, or of a shard: which one it is, and which
    /// of its images are no padding. It is all of the batch, unless that is told later.
    fn set_clock(&mut self, moment: u64, labels: &[u32]) -> Result<()> {
        let images = labels.iter().filter(|&&label| label != IGNORED).count();
        let (low, high) = (self.seed as u32, (self.seed >> 32) as u32);
        let clock = [low, high, moment as u32, images as u32, 1f32.to_bits()];
        Ok(self.device.upload(self.plan.network.clock, &clock)?)
    }

    /// Looks at a batch without learning. [`probabilities`](Self::probabilities) are then those of
    /// its images.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn test(&mut self, batch: &Batch) -> Result<Tally> {
        if self.replica.is_some() {
            return self.test_in_shards(batch);
        }
        self.load(batch)?;
        self.test_forward()?;
        let tally = self.tally()?;
        let told = self.tell(tally)?;
        told.map_or(Ok(tally), |told| self.hear(told))
    }

    /// The probabilities of the last tested images, row by row; as many as there is room for.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn probabilities(&self, into: &mut [f32]) -> Result<()> {
        match self.tested() {
            Some(rows) => into.copy_from_slice(&rows[..into.len()]),
            None => self.device.download_into(self.plan.slots.probabilities, into)?,
        }
        Ok(())
    }

    /// Sends a batch to its slots, while the last step's backward pass, which reads none of them,
    /// may still be under way.
    fn load(&mut self, batch: &Batch) -> Result<()> {
        self.load_rows(batch, 0..batch.labels.len())
    }

    fn load_rows(&mut self, batch: &Batch, rows: Range<usize>) -> Result<()> {
        let (slots, device) = (&self.plan.slots, &mut self.device);
        let bytes = batch.pixels.len() / batch.labels.len().max(1);
        device.upload_ahead(slots.pixels, &batch.pixels[rows.start * bytes..rows.end * bytes])?;
        device.upload_ahead(slots.views, batch.views[rows.clone()].as_flattened())?;
        device.upload_ahead(slots.labels, &batch.labels[rows.clone()])?;
        let tints = batch.tints[rows].as_flattened();
        let scaled = self.scaled_tints.iter_mut().zip(tints);
        scaled.for_each(|(scaled, tint)| *scaled = tint * self.scale);
        device.upload_ahead(slots.tints, &self.scaled_tints[..tints.len()])?;
        Ok(())
    }

    /// What the classifier's tower knows; nothing on the others.
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

    /// Images in a batch; of a replica, those of a batch that it sees.
    pub fn images(&self) -> usize {
        let shards = self.plan.cut().map_or(1, |cut| cut.own().len());
        self.plan.preprocess.images * shards
    }

    /// Classes told apart; none in a tower without the classifier.
    pub fn classes(&self) -> usize {
        self.plan.loss.map_or(0, |loss| loss.classes)
    }

    /// What is subtracted from every image.
    pub fn mean(&self) -> Slot {
        self.plan.slots.mean
    }

    /// A look at all that is here of the network.
    pub(crate) fn new_look(&self) -> Look {
        let head = self.plan.head.iter();
        Look::with_head(&self.plan.network, head.flat_map(|head| head.rectified((0, 0))))
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

/// The whole parameter's shape, and which of its numbers are on this device. Filters and units come
/// first in a shape, so that a share is a run.
fn share(link: &Option<Link>, plan: &Plan, entry: &Parameter) -> (Shape, Range<usize>) {
    match link {
        Some(link) => (link.whole_shape(entry), link.share(entry)),
        None => {
            let rank = plan.cut().map_or(0, |cut| cut.rank);
            plan.units_of(rank, entry).unwrap_or((entry.shape, 0..entry.len()))
        }
    }
}
