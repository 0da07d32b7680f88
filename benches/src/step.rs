//! A whole step, as a run makes them.

use crate::noise;
use data::Batch;
use layers::{Mode, Spec, SpecError};
use tensor::Device;
use train::executor::{Executor, StepRequest};
use train::metrics::Tally;
use train::plan::Plan;
use train::recipe::{Mean, Recipe};
use train::schedule::State;
use train::start::Start;
use train::step::SingleDevice;
use train::weights::Values;

/// A network and a batch of noise; each [`run`](Step::run) is a step.
pub struct Step {
    step: SingleDevice,
    batch: Batch,
    mode: Mode,
    number: u64,
}

impl Step {
    /// Plans `spec` for `images` images on `threads` threads (0: one for each core).
    ///
    /// # Panics
    /// If the network does not fit together, or into memory.
    pub fn plan(spec: &Spec, recipe: &Recipe, mode: Mode, images: usize, threads: usize) -> Step {
        Step::on(Device::cpu(threads), spec, recipe, mode, images).expect("a device with room")
    }

    /// Plans `spec` for `images` images on a device.
    ///
    /// # Errors
    /// If the device lacks room or a form of an op, or fails.
    pub fn on(
        mut device: Device,
        spec: &Spec,
        recipe: &Recipe,
        mode: Mode,
        images: usize,
    ) -> train::Result<Step> {
        let [height, width, _] = spec.input;
        let mean = (Mean::Color, [height, width]);
        let plan = Plan::new(spec, images, mode, mean, device.target())?;
        plan.check(&mut device)?;
        let mean = Values { shape: vec![3], values: vec![127.5; 3] };
        let mut step = plan.open(device, &Start::fresh(recipe, 0, mean))?;
        step.set_rates(recipe, &recipe.schedule.setting(&State::default(), 1))?;
        let batch = noise_batch(spec, images)?;
        Ok(Step { step, batch, mode, number: 0 })
    }

    /// Learns from the batch as in step `number`.
    ///
    /// # Errors
    /// If the device fails, or the loss is no number.
    pub fn learn(&mut self, number: u64) -> train::Result<Tally> {
        Ok(self.step.train_on(&self.batch, StepRequest::plain(number))?.tally)
    }

    /// The step itself.
    pub fn inner(&self) -> &SingleDevice {
        &self.step
    }

    /// Makes a step.
    ///
    /// # Panics
    /// If it diverges.
    pub fn run(&mut self) {
        self.number += 1;
        let done = match self.mode {
            Mode::Train => self.learn(self.number),
            Mode::Infer => self.step.test_on(&self.batch),
        };
        done.expect("a step on noise");
    }

    /// Images a step.
    pub fn images(&self) -> usize {
        self.batch.images
    }

    /// Bytes of the plan.
    pub fn bytes(&self) -> usize {
        self.step.plan().memory().total
    }

    /// Runs `work` where the device's threads are.
    pub fn enter<T: Send>(self, work: impl FnOnce(Step) -> T + Send) -> T {
        let Step { step, batch, mode, number } = self;
        step.enter(|step| work(Step { step, batch, mode, number }))
    }
}

/// Images of noise, labels in turn.
pub(crate) fn noise_batch(spec: &Spec, images: usize) -> Result<Batch, SpecError> {
    let ([height, width, _], classes) = (spec.input, spec.classes()?);
    Ok(Batch {
        pixels: noise(images * height * width * 3),
        views: vec![[0; 3]; images],
        tints: vec![[1.0, 0.0, 0.0, 0.0]; images],
        labels: (0..images).map(|image| (image % classes) as u32).collect(),
        samples: (0..images as u32).collect(),
        images,
        epoch: 0,
        position: 0,
    })
}
