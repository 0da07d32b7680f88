//! The run that `train` would begin with the same words: what it takes of memory.

use crate::cli::Parallel;
use crate::cli::{DescribeArgs, MachineArgs, SetupArgs, TrainArgs};
use crate::devices::{self, TOWERS};
use crate::fault::Result;
use crate::machine;
use crate::model_file::find_model;
use crate::settings::Settings;
use inference::InferencePlan;
use layers::{Spec, hybrid, towers};
use parallel::{DevicePlan, Mode, Summary, share_threads};
use tensor::{Choice, Device, Precision, Target};
use train::plan::Memory;
use train::recipe::Recipe;
use train::run::Blueprint;

/// A run, before there are images: its network has the model's own classes.
pub(super) struct Run {
    /// As it is written.
    pub(super) spec: Spec,
    settings: Settings,
    /// None of them left to be found out.
    choices: Vec<Choice>,
    /// As it was typed: what a GPU would choose takes no other memory.
    precision: Precision,
}

impl Run {
    /// What these words mean after `train`. Where devices share the work and none are named, two
    /// processors do; like GPUs, processors that multiply in bf16 need not be there.
    ///
    /// # Errors
    /// Exit codes 2 and 6, as there.
    pub(super) fn of(args: &DescribeArgs) -> Result<Run> {
        let devices = match (&args.device, args.parallel) {
            (None, Some(_)) => Some(["cpu"; TOWERS].join(",")),
            (device, _) => device.clone(),
        };
        let machine = MachineArgs {
            device: devices,
            precision: args.precision.clone(),
            threads: args.threads,
            workers: None,
        };
        let setup = SetupArgs {
            model: args.model.clone(),
            recipe: args.recipe.clone(),
            config: args.config.clone(),
            set: args.set.clone(),
            batch_size: args.batch_size,
            machine,
            ..SetupArgs::default()
        };
        let (micro_shards, parallel) = (args.micro_shards, args.parallel);
        let typed = TrainArgs { setup, micro_shards, parallel, ..TrainArgs::default() };
        let settings = Settings::resolve(&typed)?;
        let spec = find_model(&settings.model)?;
        let found = |choice| match choice {
            Choice::Auto if matches!(Device::best(1).0, Device::Cuda(_)) => Choice::Cuda(0),
            Choice::Auto => Choice::Cpu,
            named => named,
        };
        let choices: Vec<Choice> = devices::choices(&settings)?.into_iter().map(found).collect();
        let precision = machine::precision(settings.precision.as_deref())?.unwrap_or_default();
        if precision == Precision::Tf32 && choices.contains(&Choice::Cpu) {
            Device::cpu(1).set_precision(precision)?;
        }
        Ok(Run { spec, settings, choices, precision })
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.settings.recipe
    }

    pub(super) fn batch(&self) -> usize {
        self.settings.recipe.batch
    }

    pub(super) fn devices(&self) -> usize {
        self.choices.len()
    }

    /// The network in the summation order of its devices: see [`devices::resolve_spec`].
    fn resolved_spec(&self) -> Result<Spec> {
        let spec = self.spec.clone();
        devices::resolve_spec(spec, &self.settings, self.devices(), false, &mut |_| ())
    }

    fn blueprint<'a>(&'a self, spec: &'a Spec) -> Blueprint<'a> {
        let [height, width, _] = spec.input;
        let recipe = self.recipe();
        Blueprint { spec, recipe, stored: [recipe.side(height, width); 2] }
    }

    /// Where one device would make it alone.
    pub(super) fn target(&self) -> Target {
        self.targets(&self.choices[..1])[0]
    }

    fn targets(&self, choices: &[Choice]) -> Vec<Target> {
        let threads = share_threads(self.settings.threads, choices);
        let target = |(choice, threads)| match (choice, self.precision) {
            (&Choice::Cuda(_), _) => Target::Cuda,
            (_, Precision::Bf16) => Target::CpuBf16 { threads },
            _ => Target::Cpu { threads },
        };
        choices.iter().zip(threads).map(target).collect()
    }

    /// What it takes of one device in training, and bytes in testing as many images at a time.
    ///
    /// # Errors
    /// Exit code 2 if it cannot be made.
    pub(super) fn memory(&self) -> Result<(Memory, usize)> {
        let (spec, target) = (self.resolved_spec()?, self.target());
        let job = self.blueprint(&spec);
        let input = (self.recipe().input.mean, job.stored);
        let tests = InferencePlan::new(&self.spec, self.batch(), input, target)?;
        let mode = self.settings.parallel.map(Mode::from);
        Ok((Mode::plan_alone(mode, &job, target)?.memory(), tests.bytes()))
    }

    /// How devices share the work, if there are several.
    ///
    /// # Errors
    /// Exit code 2 if they cannot share it so.
    pub(super) fn summary(&self) -> Result<Option<Summary>> {
        let Some(parallel) = self.settings.parallel.filter(|_| self.devices() > 1) else {
            return Ok(None);
        };
        Ok(Some(match parallel {
            Parallel::Towers => {
                let towers = towers::split(&self.resolved_spec()?, self.devices())?;
                Summary::of_towers(&towers, &self.plans()?, self.batch())?
            }
            Parallel::Data => Summary::of_data(&self.spec, &self.plans()?, self.recipe())?,
            Parallel::Hybrid => {
                let traffic = hybrid::traffic(&self.spec, self.devices())?;
                Summary::of_hybrid(&self.spec, &traffic, &self.plans()?, self.recipe())?
            }
        }))
    }

    /// What each of several devices has to do.
    fn plans(&self) -> Result<Vec<DevicePlan>> {
        let spec = self.resolved_spec()?;
        let targets = self.targets(&self.choices);
        Ok(devices::mode_of_several(&self.settings).plan_each(&self.blueprint(&spec), &targets)?)
    }
}
