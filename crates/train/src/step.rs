//! A step on one device: load, begin, forward, loss, backward, update, over fixed addresses.

use crate::device_network::{DeviceNetwork, whole};
use crate::executor::{Executor, StepRequest, StepResult};
use crate::plan::SingleDevicePlan;
use crate::recipe::Recipe;
use crate::schedule::Setting;
use crate::start::Start;
use crate::stats::LayerStats;
use crate::{Error, Result};
use data::{Batch, HostMemory};
use evaluate::Tally;
use evaluate::{BatchShape, Evaluate};
use layers::{Parameter, TrainableNetwork};
use tensor::{Device, Recording};

/// A network on one device, ready to learn or to be tested.
#[derive(Debug)]
pub struct SingleDevice {
    net: DeviceNetwork,
    /// On a GPU, recordings of the passes of a step.
    forward: Recording,
    backward: Recording,
    /// Where gradients are clipped before it: the update, which is else a part of `backward`.
    update: Recording,
    test: Recording,
}

impl SingleDevice {
    /// Learns from a batch. Nothing is allocated here, and the device's memory is where the plan
    /// put it.
    ///
    /// # Errors
    /// [`Error::Diverged`], before the update, if the loss is not a number;
    /// [`Error::Device`].
    pub fn train_on(&mut self, batch: &Batch, request: StepRequest<'_>) -> Result<StepResult> {
        let step = request.step;
        self.step(batch, request).map_err(|error| error.at_step(step))
    }

    fn step(&mut self, batch: &Batch, request: StepRequest<'_>) -> Result<StepResult> {
        let StepRequest { step, control, mut stats } = request;
        self.net.load_training(batch)?;
        self.net.begin_step(step, &batch.labels)?;
        self.net.replay(&mut self.forward, SingleDevicePlan::forward)?;
        // The next images may be uploaded from here on: later passes do not read them.
        self.net.device.mark_read()?;
        let tally = self.net.finite_tally(step)?;
        if let Some(stats) = &mut stats {
            stats.after_loss(&self.net.device)?;
        }
        if self.net.plan.optimizer.clip().is_some() {
            self.net.replay(&mut self.backward, SingleDevicePlan::gradients)?;
            self.net.limit_gradients(stats.as_deref_mut())?;
            self.net.scale_gradients(step)?;
            self.net.replay(&mut self.update, SingleDevicePlan::update)?;
        } else {
            self.net.replay(&mut self.backward, SingleDevicePlan::backward)?;
        }
        self.net.average(step)?;
        if let Some(stats) = &mut stats {
            stats.after_update(&self.net.device, &self.net.plan)?;
        }
        Ok(StepResult { tally, control })
    }

    /// Looks at a batch without learning. [`probabilities`](Evaluate::probabilities) are then those
    /// of its images.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn test_on(&mut self, batch: &Batch) -> Result<Tally> {
        self.net.load(batch)?;
        self.net.replay(&mut self.test, SingleDevicePlan::test)?;
        Ok(self.net.plan.frame.tally(&self.net.device)?)
    }

    /// The network.
    pub fn network(&self) -> &TrainableNetwork {
        &self.net.plan.network
    }

    /// All that is on the device, to change it.
    pub fn net_mut(&mut self) -> &mut DeviceNetwork {
        &mut self.net
    }

    /// What it takes of memory, and where.
    pub fn plan(&self) -> &SingleDevicePlan {
        &self.net.plan
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.net.device
    }

    /// Runs `work` where the device's threads are: a loop of steps inside hands nothing over.
    pub fn enter<T: Send>(self, work: impl FnOnce(SingleDevice) -> T + Send) -> T {
        Device::enter_with(self, |step| &step.net.device, work)
    }
}

impl SingleDevicePlan {
    /// Takes the memory, and fills it with what training starts from.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough;
    /// [`Error::Checkpoint`] or [`Error::Weights`]
    /// if parameters are another network's.
    pub fn open(self, device: Device, start: &Start) -> Result<SingleDevice> {
        let mut net = DeviceNetwork::open(self, device)?;
        net.start(start, &whole)?;
        let [forward, backward, update, test] = [(); 4].map(|()| Recording::default());
        Ok(SingleDevice { net, forward, backward, update, test })
    }

    /// As [`open`](Self::open), for a [`Session`](crate::run::Session).
    ///
    /// # Errors
    /// As there.
    pub fn open_boxed(self, device: Device, start: &Start) -> Result<Box<dyn Executor>> {
        Ok(Box::new(self.open(device, start)?))
    }
}

impl Evaluate for SingleDevice {
    type Error = Error;

    fn batch_shape(&self) -> BatchShape {
        let frame = &self.net.plan.frame;
        BatchShape { images: frame.images(), classes: frame.classes(), part: (0, 1) }
    }

    fn test(&mut self, batch: &mut Batch) -> Result<Tally> {
        self.test_on(batch)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        Ok(self.net.device.download_into(self.net.plan.frame.probabilities, into)?)
    }
}

impl Executor for SingleDevice {
    fn parameters(&self) -> &[Parameter] {
        &self.network().parameters.entries
    }

    fn new_stats(&self) -> LayerStats {
        LayerStats::new(self.network())
    }

    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        self.net.set_rates(recipe, setting)
    }

    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> Result<StepResult> {
        self.train_on(batch, request)
    }

    fn use_average(&mut self, averaged: bool) -> Result<()> {
        self.net.use_average(averaged)
    }

    fn snapshot(&mut self, values: &mut Vec<f32>, state: &mut Vec<f32>) -> Result<()> {
        self.net.snapshot(values, state)
    }

    fn batch_memory(&self, bytes: usize) -> Result<Option<Box<dyn HostMemory>>> {
        let pinned = self.net.device.pinned(bytes)?;
        Ok(pinned.map(|pinned| Box::new(pinned) as Box<dyn HostMemory>))
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>) {
        (*self).enter(|step| work(Box::new(step)));
    }
}
