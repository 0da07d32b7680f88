//! Whole steps of training and inference, as in a run.

use crate::noise;
use clap::ValueEnum;
use data::Batch;
use evaluate::Tally;
use inference::{InferencePlan, Predictor};
use layers::{Spec, SpecError};
use std::error::Error;
use std::path::Path;
use tensor::{Device, Target};
use train::executor::{Executor, StepRequest};
use train::plan::SingleDevicePlan;
use train::recipe::{Input, Mean, Recipe};
use train::schedule::ScheduleState;
use train::start::Start;
use train::step::SingleDevice;
use weights::{About, Values, Weights};

/// Training or inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StepMode {
    /// Forward, backward, update
    Train,
    /// Forward only
    Infer,
}

impl StepMode {
    /// In a table, and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            StepMode::Train => "train",
            StepMode::Infer => "infer",
        }
    }
}

/// A network and a batch of random pixels; each [`run`](Step::run) is a step.
#[derive(Debug)]
pub enum Step {
    /// Of training.
    Train(Box<TrainingStep>),
    /// Of inference.
    Infer(Box<InferenceStep>),
}

impl Step {
    /// Plans `spec` for `images` images on `threads` threads (0: one per core).
    ///
    /// # Panics
    /// If the network does not fit together, or into memory.
    pub fn plan(
        spec: &Spec,
        recipe: &Recipe,
        mode: StepMode,
        images: usize,
        threads: usize,
    ) -> Step {
        Step::on(Device::cpu(threads), spec, recipe, mode, images).expect("enough memory")
    }

    /// Plans `spec` for `images` images on a device.
    ///
    /// # Errors
    /// If the device lacks memory or an op, or fails.
    pub fn on(
        device: Device,
        spec: &Spec,
        recipe: &Recipe,
        mode: StepMode,
        images: usize,
    ) -> Result<Step, Box<dyn Error>> {
        Ok(match mode {
            StepMode::Train => {
                Step::Train(Box::new(TrainingStep::on(device, spec, recipe, images)?))
            }
            StepMode::Infer => {
                Step::Infer(Box::new(InferenceStep::on(device, spec, recipe, images)?))
            }
        })
    }

    /// Runs a step.
    ///
    /// # Panics
    /// If it diverges.
    pub fn run(&mut self) {
        match self {
            Step::Train(step) => step.run(),
            Step::Infer(step) => step.run(),
        }
    }

    /// Images per step.
    pub fn images(&self) -> usize {
        match self {
            Step::Train(step) => step.batch.images,
            Step::Infer(step) => step.batch.images,
        }
    }

    /// Runs `work` on the device's threads.
    pub fn enter<T: Send>(self, work: impl FnOnce(Step) -> T + Send) -> T {
        match self {
            Step::Train(step) => step.enter(|step| work(Step::Train(Box::new(step)))),
            Step::Infer(step) => {
                let InferenceStep { predictor, batch } = *step;
                predictor.enter(|predictor| {
                    work(Step::Infer(Box::new(InferenceStep { predictor, batch })))
                })
            }
        }
    }
}

/// A network that learns from a batch of noise.
#[derive(Debug)]
pub struct TrainingStep {
    step: SingleDevice,
    batch: Batch,
    number: u64,
}

impl TrainingStep {
    /// Plans `spec` for `images` images on a device.
    ///
    /// # Errors
    /// If the device lacks memory or an op, or fails.
    pub fn on(
        mut device: Device,
        spec: &Spec,
        recipe: &Recipe,
        images: usize,
    ) -> train::Result<TrainingStep> {
        let [height, width, _] = spec.input;
        let plan =
            SingleDevicePlan::new(spec, images, (Mean::Color, [height, width]), device.target())?;
        plan.check(&mut device)?;
        let mut step = plan.open(device, &Start::fresh(recipe, 0, grey()))?;
        step.set_rates(recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1))?;
        let batch = noise_batch(spec, images)?;
        Ok(TrainingStep { step, batch, number: 0 })
    }

    /// Trains on the batch as in step `number`.
    ///
    /// # Errors
    /// If the device fails, or the loss is not finite.
    pub fn learn(&mut self, number: u64) -> train::Result<Tally> {
        Ok(self.step.train_on(&self.batch, StepRequest::plain(number))?.tally)
    }

    /// The step itself.
    pub fn inner(&self) -> &SingleDevice {
        &self.step
    }

    /// Runs the next step.
    ///
    /// # Panics
    /// If it diverges.
    pub fn run(&mut self) {
        self.number += 1;
        self.learn(self.number).expect("a step on noise");
    }

    /// Runs `work` on the device's threads.
    pub fn enter<T: Send>(self, work: impl FnOnce(TrainingStep) -> T + Send) -> T {
        let TrainingStep { step, batch, number } = self;
        step.enter(|step| work(TrainingStep { step, batch, number }))
    }
}

/// A network that classifies a batch of random pixels.
#[derive(Debug)]
pub struct InferenceStep {
    predictor: Predictor,
    batch: Batch,
}

impl InferenceStep {
    fn on(
        mut device: Device,
        spec: &Spec,
        recipe: &Recipe,
        images: usize,
    ) -> Result<InferenceStep, Box<dyn Error>> {
        let [height, width, _] = spec.input;
        let mean = (Mean::Color, [height, width]);
        let plan = InferencePlan::new(spec, images, mean, device.target())?;
        plan.check(&mut device)?;
        let predictor = plan.open(device, &drawn(spec, recipe)?, Path::new("drawn weights"))?;
        Ok(InferenceStep { predictor, batch: noise_batch(spec, images)? })
    }

    fn run(&mut self) {
        self.predictor.test_on(&self.batch).expect("a device that works");
    }
}

/// The initial weights of `recipe`.
pub(crate) fn drawn(spec: &Spec, recipe: &Recipe) -> train::Result<Weights> {
    let [height, width, _] = spec.input;
    let (input, target) = ((Mean::Color, [height, width]), Target::Cpu { threads: 1 });
    let plan = SingleDevicePlan::new(spec, 1, input, target)?;
    let drawn = plan.open(Device::cpu(1), &Start::fresh(recipe, 0, grey()))?;
    let about = About {
        format: Weights::FORMAT,
        classes: (0..spec.classes()?).map(|class| class.to_string()).collect(),
        class_names: Vec::new(),
        input: Input { mean: Mean::Color, ..recipe.input },
        model: spec.clone(),
    };
    Ok(Weights::of(drawn.device(), &drawn.network().parameters, grey(), about)?)
}

/// A mean colour.
fn grey() -> Values {
    Values { shape: vec![3], values: vec![127.5; 3] }
}

/// A batch of random pixels; the labels cycle through the classes.
pub(crate) fn noise_batch(spec: &Spec, images: usize) -> Result<Batch, SpecError> {
    let ([height, width, _], classes) = (spec.input, spec.classes()?);
    Ok(Batch {
        pixels: noise(images * height * width * 3).into(),
        views: vec![[0; 3]; images],
        tints: vec![[1.0, 0.0, 0.0, 0.0]; images],
        labels: (0..images).map(|image| (image % classes) as u32).collect(),
        samples: (0..images as u32).collect(),
        images,
        ..Batch::default()
    })
}
