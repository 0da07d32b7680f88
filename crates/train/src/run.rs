//! The loop: epochs of steps, a validation after each, weights at the end.

use crate::evaluate::evaluate;
use crate::folder::{Record, RunFolder, State, Status};
use crate::metrics::{Score, Tally};
use crate::observe::{Observer, Recent, StepReport, ValidationReport};
use crate::recipe::{Mean, Recipe};
use crate::schedule;
use crate::step::{Plan, Step};
use crate::weights::{About, Values, Weights};
use crate::{Error, Result, Stop};
use data::{Loader, Source, Statistics};
use layers::{Mode, Spec};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tensor::Device;

/// Everything that decides a run's bits, and how it is to be watched.
#[derive(Clone)]
pub struct Job {
    /// The network, for as many classes as the data has.
    pub spec: Spec,
    /// How it is trained.
    pub recipe: Recipe,
    /// Names every random draw.
    pub seed: u64,
    /// What is learned from.
    pub train: Arc<dyn Source>,
    /// What it is validated on.
    pub validation: Arc<dyn Source>,
    /// The training set's mean and colours.
    pub statistics: Statistics,
    /// Threads that decode; 0: one for each core.
    pub workers: usize,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Validate after every so many epochs, and after the last.
    pub validate_every: u32,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The signal that ended it early.
    pub stopped: Option<usize>,
    /// Steps done.
    pub steps: u64,
    /// Seconds of it all.
    pub seconds: f64,
    /// Training images a second, validations not counted.
    pub images_per_s: f64,
    /// The last training steps.
    pub train: Score,
    /// The last validation.
    pub validation: Option<Score>,
}

impl Job {
    /// Lays the network out for this job on a device with `threads` threads.
    ///
    /// # Errors
    /// [`Error::Network`], or [`Error::Recipe`] if the images are smaller than the crops or the
    /// augmentation is out of range.
    pub fn plan(&self, threads: usize) -> Result<Plan> {
        self.recipe.augment.check().map_err(Error::Recipe)?;
        let (stored_height, stored_width) = self.train.size();
        let [height, width, _] = self.spec.input;
        if height > stored_height || width > stored_width {
            return Err(Error::Recipe(format!(
                "crops of {height} x {width} cannot be taken from images of {stored_height} x \
                 {stored_width}: raise recipe.input.side"
            )));
        }
        let mean = (self.recipe.input.mean, [stored_height, stored_width]);
        Plan::new(&self.spec, self.recipe.batch, Mode::Train, mean, threads)
    }

    /// Trains from the beginning.
    ///
    /// # Errors
    /// Any [`Error`]; the run's folder then says `failed` and why.
    pub fn run(
        &self,
        plan: Plan,
        device: Device,
        folder: &mut RunFolder,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Outcome> {
        let mut status = Status::begun();
        folder.status(&status)?;
        let outcome = plan.open(device).and_then(|step| {
            step.enter(|step| {
                let mut training = Training::new(self, step, folder, observer, stop, &mut status)?;
                training.run()
            })
        });
        match &outcome {
            Ok(outcome) => {
                let stopped = outcome.stopped.is_some();
                status.status = if stopped { State::Interrupted } else { State::Finished };
            }
            Err(error) => {
                status.status = State::Failed;
                status.error = Some(error.to_string());
            }
        }
        let told = folder.status(&status);
        outcome.and_then(|outcome| told.map(|()| outcome))
    }

    fn color_shift(&self, on: bool) -> Option<augment::ColorShift> {
        on.then(|| self.recipe.augment.color_shift(&self.statistics)).flatten()
    }

    /// What is subtracted from an image.
    pub fn mean(&self) -> Values {
        let (height, width) = self.train.size();
        match self.recipe.input.mean {
            Mean::Image => {
                Values { shape: vec![height, width, 3], values: self.statistics.mean.clone() }
            }
            Mean::Color => Values { shape: vec![3], values: self.statistics.color.to_vec() },
        }
    }

    /// A loader for this job's validation set.
    pub fn validation_loader(&self) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = data::Plan::testing(self.recipe.batch, (height, width));
        Loader::new(Arc::clone(&self.validation), plan, self.workers, 0)
    }

    fn training_loader(&self) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = self.recipe.augment.plan(self.recipe.batch, (height, width), self.seed);
        Loader::new(Arc::clone(&self.train), plan, self.workers, 0)
    }
}

/// A run in progress.
struct Training<'a> {
    job: &'a Job,
    step: Step,
    train: Loader,
    validation: Loader,
    folder: &'a mut RunFolder,
    observer: &'a mut dyn Observer,
    stop: &'a Stop,
    status: &'a mut Status,
    schedule: schedule::State,
    began: Instant,
    recent: Recent,
    /// Since the last line of metrics.
    unrecorded: Sums,
    /// Since the last validation.
    unvalidated: Tally,
    /// Of the whole run.
    all: Sums,
    validation_seconds: f64,
    saved: Option<Instant>,
}

/// What a number of steps come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    tally: Tally,
    seconds: f64,
    wait: f64,
}

impl Sums {
    fn add(&mut self, tally: Tally, seconds: f64, wait: f64) {
        self.tally.add(tally);
        self.seconds += seconds;
        self.wait += wait;
    }

    fn images_per_s(&self) -> f64 {
        self.tally.images / self.seconds.max(1e-9)
    }
}

impl<'a> Training<'a> {
    /// Steps up to this one each have their own line of metrics; later, every tenth has.
    const EVERY_STEP_UNTIL: u64 = 100;
    /// Weights are written after a validation if they are at least this old.
    const SAVE_AFTER: Duration = Duration::from_secs(60);

    fn new(
        job: &'a Job,
        mut step: Step,
        folder: &'a mut RunFolder,
        observer: &'a mut dyn Observer,
        stop: &'a Stop,
        status: &'a mut Status,
    ) -> Result<Training<'a>> {
        step.initialize(&job.recipe, job.seed)?;
        step.set_input(&job.mean().values, job.recipe.input.scale)?;
        Ok(Training {
            train: job.training_loader(),
            validation: job.validation_loader(),
            began: Instant::now(),
            schedule: schedule::State::default(),
            recent: Recent::default(),
            unrecorded: Sums::default(),
            unvalidated: Tally::default(),
            all: Sums::default(),
            validation_seconds: 0.0,
            saved: None,
            job,
            step,
            folder,
            observer,
            stop,
            status,
        })
    }

    fn run(&mut self) -> Result<Outcome> {
        let epochs = self.epochs();
        for epoch in 1..=epochs {
            self.status.epoch = epoch;
            self.epoch(epoch)?;
            let last = epoch == epochs || self.status.step == self.steps();
            if self.stop.requested().is_none() && (last || epoch % self.job.validate_every == 0) {
                self.validate(epoch)?;
            }
            if last || self.stop.requested().is_some() {
                break;
            }
        }
        self.save()?;
        Ok(Outcome {
            stopped: self.stop.requested(),
            steps: self.status.step,
            seconds: self.began.elapsed().as_secs_f64(),
            images_per_s: self.all.images_per_s(),
            train: self.recent.score(),
            validation: self.status.validation,
        })
    }

    fn epoch(&mut self, epoch: u32) -> Result<()> {
        let recipe = &self.job.recipe;
        let setting = recipe.schedule.setting(&self.schedule, epoch);
        self.step.set_rates(recipe, &setting)?;
        self.train.set_color(self.job.color_shift(setting.color));
        let rate = recipe.rate * setting.rate;
        for _ in 0..self.train.batches_per_epoch() {
            if self.stop.requested().is_some() || self.status.step == self.steps() {
                break;
            }
            self.learn(epoch, rate)?;
        }
        Ok(())
    }

    /// One step and what is told of it.
    fn learn(&mut self, epoch: u32, rate: f64) -> Result<()> {
        let began = Instant::now();
        let batch = self.train.next_batch()?.expect("training data have no end");
        let wait = began.elapsed().as_secs_f64();
        let tally = self.step.train(&batch, self.status.step + 1)?;
        drop(batch);
        let seconds = began.elapsed().as_secs_f64();

        self.status.step += 1;
        self.recent.add(tally, seconds, wait);
        self.all.add(tally, seconds, wait);
        self.unrecorded.add(tally, seconds, wait);
        self.unvalidated.add(tally);
        let step = self.status.step;
        if step <= Self::EVERY_STEP_UNTIL || step.is_multiple_of(10) || step == self.steps() {
            let sums = std::mem::take(&mut self.unrecorded);
            let Score { loss, top1_error, .. } = sums.tally.score();
            let images_per_s = sums.images_per_s();
            let data_wait = sums.wait / sums.seconds.max(1e-9);
            self.folder.record(&Record::Train {
                step,
                epoch,
                loss,
                top1_error,
                rate,
                images_per_s,
                data_wait,
            })?;
        }
        self.report(epoch, rate);
        Ok(())
    }

    fn report(&mut self, epoch: u32, rate: f64) {
        let (step, steps, epochs) = (self.status.step, self.steps(), self.epochs());
        let epochs_left = f64::from((epochs - epoch) / self.job.validate_every + 1);
        let steps_left = (steps - step) as f64;
        let Score { loss, top1_error, .. } = self.recent.score();
        self.observer.step(&StepReport {
            step,
            steps,
            epoch,
            epochs,
            loss,
            top1_error,
            rate,
            images_per_s: self.recent.images_per_s(),
            data_wait: self.recent.data_wait(),
            eta_s: steps_left * self.recent.seconds_a_step()
                + epochs_left * self.validation_seconds,
        });
    }

    fn validate(&mut self, epoch: u32) -> Result<()> {
        let began = Instant::now();
        let observer = &mut *self.observer;
        let mut watch = |done, of| observer.testing(done, of);
        let tally = evaluate(&mut self.step, &mut self.validation, self.stop, &mut watch)?;
        let Some(tally) = tally else { return Ok(()) }; // stopped half-way: no result
        self.validation_seconds = began.elapsed().as_secs_f64();

        let (score, step) = (tally.score(), self.status.step);
        let seconds = self.began.elapsed().as_secs_f64();
        self.schedule = self.job.recipe.schedule.remember(self.schedule, score.top1_error);
        self.status.validation = Some(score);
        self.folder.record(&Record::Validation { step, epoch, score, seconds })?;
        self.folder.status(self.status)?;
        let train_loss = std::mem::take(&mut self.unvalidated).score().loss;
        let epochs = self.epochs();
        let report = ValidationReport { step, epoch, epochs, score, train_loss, seconds };
        self.observer.validation(&report);
        if self.saved.is_none_or(|saved| saved.elapsed() > Self::SAVE_AFTER) {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        let about = About {
            format: Weights::FORMAT,
            classes: self.job.train.classes().to_vec(),
            input: self.job.recipe.input,
            model: self.job.spec.clone(),
        };
        let parameters = &self.step.network().parameters;
        let weights = Weights::of(self.step.device(), parameters, self.job.mean(), about)?;
        weights.write(&self.folder.path().join("weights.safetensors"))?;
        self.saved = Some(Instant::now());
        Ok(())
    }

    /// Epochs that will be begun.
    fn epochs(&self) -> u32 {
        let by_steps = self.steps().div_ceil(self.train.batches_per_epoch() as u64);
        self.job.recipe.epochs.min(u32::try_from(by_steps).unwrap_or(u32::MAX))
    }

    /// Steps that will be made.
    fn steps(&self) -> u64 {
        let all = u64::from(self.job.recipe.epochs) * self.train.batches_per_epoch() as u64;
        self.job.max_steps.unwrap_or(all).min(all)
    }
}
