//! The run that `train` would begin with the same words: what it takes of memory.

use super::find_model;
use crate::cli::{DescribeArgs, MachineArgs, TrainArgs};
use crate::devices::{self, TOWERS, plan_alone, plan_each};
use crate::fault::Result;
use crate::machine::{self, share_threads};
use crate::settings::{Parallel, Settings};
use layers::{Mode, Spec};
use tensor::{Choice, Device, Precision, Target};
use train::recipe::Recipe;
use train::run::Blueprint;
use train::step::{Memory, Plan};

/// A run, before there are images: its network has the model's own classes.
pub(super) struct Run {
    /// As it is written.
    pub(super) spec: Spec,
    settings: Settings,
    choices: Vec<Choice>,
    /// As it was typed: what a card would choose takes no other memory.
    precision: Precision,
}

impl Run {
    /// What these words mean after `train`. Where devices share the work and none are named, two
    /// processors do; like cards, processors that multiply in bf16 need not be there.
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
        let settings = Settings::resolve(&TrainArgs {
            model: args.model.clone(),
            recipe: args.recipe.clone(),
            config: args.config.clone(),
            set: args.set.clone(),
            batch_size: args.batch_size,
            micro_shards: args.micro_shards,
            parallel: args.parallel,
            machine,
            ..Default::default()
        })?;
        let (spec, choices) = (find_model(&settings.model)?, devices::choices(&settings)?);
        let precision = machine::precision(settings.precision.as_deref())?.unwrap_or_default();
        let run = Run { spec, settings, choices, precision };
        if precision == Precision::Tf32
            && run.targets().iter().any(|&target| target != Target::Cuda)
        {
            Device::cpu(1).set_precision(precision)?;
        }
        Ok(run)
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.settings.recipe
    }

    pub(super) fn batch(&self) -> usize {
        self.settings.recipe.batch
    }

    /// How devices share the work, if there are several.
    pub(super) fn shared(&self) -> Option<Parallel> {
        self.settings.parallel.filter(|_| self.devices() > 1)
    }

    pub(super) fn devices(&self) -> usize {
        self.choices.len()
    }

    /// The network as its devices sum: see [`devices::settle`].
    pub(super) fn settled(&self) -> Result<Spec> {
        let spec = self.spec.clone();
        devices::settle(spec, &self.settings, self.devices(), false, &mut |_| ())
    }

    fn blueprint<'a>(&'a self, spec: &'a Spec) -> Blueprint<'a> {
        let [height, width, _] = spec.input;
        let recipe = self.recipe();
        Blueprint { spec, recipe, stored: [recipe.side(height, width); 2] }
    }

    /// Where one device would make it alone.
    pub(super) fn target(&self) -> Target {
        self.target_of(self.choices[0], self.settings.threads)
    }

    /// Where each of several devices would.
    fn targets(&self) -> Vec<Target> {
        let threads = share_threads(self.settings.threads, &self.choices);
        let each = self.choices.iter().zip(threads);
        each.map(|(&choice, threads)| self.target_of(choice, threads)).collect()
    }

    fn target_of(&self, choice: Choice, threads: usize) -> Target {
        let target = match choice {
            Choice::Auto => Device::best(threads).0.target(),
            Choice::Cpu => Device::cpu(threads).target(),
            Choice::Cuda(_) => Target::Cuda,
        };
        match target {
            Target::Cpu { threads } if self.precision == Precision::Bf16 => {
                Target::CpuBf16 { threads }
            }
            target => target,
        }
    }

    /// What it takes of one device in training, and in testing as many images at a time.
    ///
    /// # Errors
    /// Exit code 2 if it cannot be made.
    pub(super) fn memory(&self) -> Result<[Memory; 2]> {
        let (spec, target) = (self.settled()?, self.target());
        let job = self.blueprint(&spec);
        let input = (self.recipe().input.mean, job.stored);
        let tests = Plan::new(&self.spec, self.batch(), Mode::Infer, input, target)?;
        Ok([plan_alone(self.settings.parallel, &job, target)?.memory(), tests.memory()])
    }

    /// What each of several devices has to do.
    ///
    /// # Errors
    /// Exit code 2 if they cannot share the work so.
    pub(super) fn plans(&self) -> Result<Vec<Plan>> {
        let spec = self.settled()?;
        plan_each(self.settings.parallel, &self.blueprint(&spec), &self.targets())
    }
}
