//! Trains and tests the networks of an experiment with the code of the other commands.

use super::inspector::Inspector;
use crate::cli::{MachineArgs, ReproduceArgs, ViewsArg};
use crate::fault::{Fault, Result};
use crate::images::{self, Images};
use crate::settings::{Inherited, Settings};
use crate::trained::Trained;
use crate::training::{open_images, run_in};
use crate::{devices, machine, output, testing};
use data::DatasetOptions;
use evaluate::{Observer, Predictions, Score, Stop};
use experiments::{Ended, Finding, Fingerprints, Inspection, RunRequest, RunStart, Runner, View};
use layers::Spec;
use std::path::Path;
use tensor::Choice;
use terminal::progress::Reading;
use train::checkpoint::Policy;

/// Images of a test at a time.
const BATCH: usize = 128;

/// What was typed of how and where to compute.
pub struct Trainer<'a> {
    machine: &'a MachineArgs,
    reading: Reading,
    stop: &'a Stop,
}

impl<'a> Trainer<'a> {
    /// # Errors
    /// Exit code 2 if a word means no device or precision, 6 if a GPU was named that is not there.
    pub fn new(args: &'a ReproduceArgs, stop: &'a Stop) -> Result<Trainer<'a>> {
        let device: Choice = args.machine.device.as_deref().unwrap_or("auto").parse()?;
        devices::open_gpus(&[device], 0)?;
        machine::precision(args.machine.precision.as_deref())?;
        Ok(Trainer { machine: &args.machine, reading: Reading::new(args.progress), stop })
    }

    fn settings(&self, task: &RunRequest) -> Settings {
        let machine = self.machine;
        Settings {
            data: task.images.name().to_string(),
            seed: task.seed,
            device: machine.device.clone().unwrap_or_else(|| "auto".to_string()),
            precision: task.precision.clone(),
            threads: machine.threads.unwrap_or(0),
            workers: machine.workers.unwrap_or(0),
            max_steps: task.max_steps,
            hold_out: task.hold_out,
            init: task.init.clone().map(|init| Inherited {
                from: init.from,
                layers: None,
                velocities: init.velocities,
                mean: None,
            }),
            // The last checkpoint is enough to resume.
            checkpoints: Policy { keep: 1, ..Policy::default() },
            ..Settings::new(task.spec.name.clone(), task.recipe.clone())
        }
    }

    fn images(
        &self,
        which: &experiments::Images,
        settings: &Settings,
        spec: &Spec,
    ) -> Result<Images> {
        let &experiments::Images::Shapes { train, test } = which else {
            return open_images(settings, spec, &self.reading);
        };
        let side = settings.recipe.input.side.expect("settings are resolved");
        let (threads, shapes) = (settings.workers, (train, test));
        let options = DatasetOptions { threads, shapes, ..DatasetOptions::with_side(side) };
        let images = data::open("shapes", &options, &|_, _| ())?;
        Ok(match settings.hold_out {
            Some(nth) => images.hold_out(nth),
            None => images,
        })
    }

    /// Makes a run or goes on with it; false if a signal came before the end.
    fn go(&self, path: &Path, task: &RunRequest, observer: &mut dyn Observer) -> Result<bool> {
        let (settings, spec) = (&self.settings(task), &task.spec);
        let mut images = self.images(&task.images, settings, spec)?;
        if images::identify(&mut images, observer, self.stop)?.is_none() {
            return Ok(false);
        }
        let watchers: (&Reading, &mut dyn Observer) = (&self.reading, observer);
        let outcome = run_in(path, settings, spec, &images, watchers, self.stop)?;
        Ok(outcome.is_some_and(|outcome| outcome.signal().is_none()))
    }
}

impl Runner for Trainer<'_> {
    type Error = Fault;
    type Opened = (Trained, Images);

    fn began(&self, run: &Path) -> Result<RunStart> {
        let Settings { data, recipe, hold_out, seed, max_steps, precision, .. } =
            Settings::read(&run.join("config.toml"))?;
        Ok(RunStart { data, recipe, hold_out, seed, max_steps, precision })
    }

    fn fingerprints(
        &self,
        task: &RunRequest,
        observer: &mut dyn Observer,
    ) -> Result<Option<Fingerprints>> {
        let mut images = self.images(&task.images, &self.settings(task), &task.spec)?;
        Ok(images::identify(&mut images, observer, self.stop)?.cloned())
    }

    fn train(&self, run: &Path, task: &RunRequest, observer: &mut dyn Observer) -> Result<Ended> {
        match self.go(run, task, observer) {
            Ok(true) => Ok(Ended::Finished),
            Ok(false) => Ok(Ended::Stopped),
            Err(fault) if fault.code == 5 => Ok(Ended::Diverged(fault.message)),
            Err(fault) => Err(fault),
        }
    }

    fn open(&self, run: &Path, which: &experiments::Images) -> Result<(Trained, Images)> {
        let trained = Trained::of_run(run)?;
        let mut settings = trained.config.clone().expect("a run's folder has its settings");
        (settings.hold_out, settings.data) = (None, which.name().to_string());
        let images = self.images(which, &settings, &trained.weights.about.model)?;
        trained.check_classes(images.test.classes())?;
        Ok((trained, images))
    }

    fn test(
        &self,
        (trained, images): &(Trained, Images),
        view: View,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Score, Predictions)>> {
        let views = match view {
            View::Centre => ViewsArg::Centre,
            View::Nine => ViewsArg::Nine,
            View::Ten => ViewsArg::Ten,
        };
        let seen = (views, BATCH, self.machine);
        testing::test(seen, trained, &images.test, observer, self.stop)
    }

    fn inspect(
        &self,
        opened: &(Trained, Images),
        inspection: Inspection,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Finding>>> {
        let (trained, images) = opened;
        Inspector { trained, images, machine: self.machine, stop: self.stop }
            .inspect(inspection, observer)
    }

    fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        output::write(path, contents)
    }
}
