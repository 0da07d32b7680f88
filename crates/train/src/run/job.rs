//! A job: all settings of a run.

use super::batch_memory::BatchMemory;
use crate::Result;
use crate::checkpoint::{Checkpoint, Policy};
use crate::init::Pretrained;
use crate::recipe::{Mean, Recipe};
use crate::start::{InitialState, Start};
use data::{Loader, Source, Statistics};
use layers::Spec;
use std::fmt;
use std::sync::Arc;
use weights::{About, Values, Weights};

/// All settings of a run: those that decide its results, and those of validation and checkpoints.
#[derive(Clone)]
pub struct Job {
    /// The network; its number of classes must be that of the data.
    pub spec: Spec,
    /// The hyper-parameters.
    pub recipe: Recipe,
    /// The seed of all random draws.
    pub seed: u64,
    /// The training images.
    pub train: Arc<dyn Source>,
    /// The validation images.
    pub validation: Arc<dyn Source>,
    /// The training set's mean image and colour statistics.
    pub statistics: Statistics,
    /// The number of decoding threads; 0: one for each core.
    pub workers: usize,
    /// Parameters inherited from another run instead of random ones. Not needed to resume a run.
    pub init: Option<Arc<Pretrained>>,
    /// The maximum number of steps.
    pub max_steps: Option<u64>,
    /// Validate every `validate_every` epochs, and after the last.
    pub validate_every: u32,
    /// When checkpoints are written.
    pub checkpoints: Policy,
    /// Readable names of the classes, in label order, for the file of weights; if empty, those of
    /// `train`. They need not be unique, and do not affect results.
    pub class_names: Vec<String>,
}

impl fmt::Debug for Job {
    /// Without the images.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Job { spec, recipe, seed, workers, max_steps, validate_every, checkpoints, .. } = self;
        f.debug_struct("Job")
            .field("spec", spec)
            .field("recipe", recipe)
            .field("seed", seed)
            .field("workers", workers)
            .field("max_steps", max_steps)
            .field("validate_every", validate_every)
            .field("checkpoints", checkpoints)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// A job with seed 0, one decoding thread per core, random initial parameters, the recipe's
    /// number of epochs, a validation after each, and the default checkpoints. `statistics` are
    /// those of `train`.
    pub fn new(
        spec: Spec,
        recipe: Recipe,
        train: Arc<dyn Source>,
        validation: Arc<dyn Source>,
        statistics: Statistics,
    ) -> Job {
        Job {
            spec,
            recipe,
            seed: 0,
            train,
            validation,
            statistics,
            workers: 0,
            init: None,
            max_steps: None,
            validate_every: 1,
            checkpoints: Policy::default(),
            class_names: Vec::new(),
        }
    }

    pub(super) fn about(&self) -> About {
        About {
            format: Weights::FORMAT,
            classes: self.train.classes().to_vec(),
            class_names: self.class_names.clone(),
            input: self.recipe.input,
            model: self.spec.clone(),
        }
    }

    pub(super) fn color_shift(&self, on: bool) -> Option<augment::ColorShift> {
        on.then(|| self.recipe.augment.color_shift(&self.statistics)).flatten()
    }

    /// The mean that is subtracted from images: an image `[height, width, 3]` or a colour `[3]`.
    /// It is that of the initial parameters if they have one of the recipe's kind and size, else the
    /// training set's. A resumed run has its checkpoint's.
    pub fn mean(&self) -> Values {
        let (height, width) = self.train.size();
        let init = self.init.as_ref();
        let kept = init.and_then(|init| init.mean(self.recipe.input.mean, (height, width)));
        if let Some(mean) = kept {
            return mean.clone();
        }
        match self.recipe.input.mean {
            Mean::Image => {
                Values { shape: vec![height, width, 3], values: self.statistics.mean.clone() }
            }
            Mean::Color => Values { shape: vec![3], values: self.statistics.color.to_vec() },
        }
    }

    /// The mean of a run that begins, or that resumes from a checkpoint.
    pub(super) fn mean_of(&self, from: Option<&Checkpoint>) -> Values {
        from.map_or_else(|| self.mean(), |from| from.mean.clone())
    }

    /// The initial state: a checkpoint, or random and inherited parameters.
    ///
    /// # Errors
    /// [`Error::Recipe`](crate::Error::Recipe) if a class weight belongs to no class.
    pub fn start(&self, from: Option<Arc<Checkpoint>>) -> Result<Start> {
        let mean = self.mean_of(from.as_deref());
        let state = match from {
            Some(checkpoint) => InitialState::Checkpoint(checkpoint),
            None => InitialState::Fresh {
                recipe: Arc::new(self.recipe.clone()),
                inherit: self.init.clone(),
            },
        };
        let (loss, scale) = (self.recipe.loss(&*self.train)?, self.recipe.input.scale);
        Ok(Start { state, seed: self.seed, mean: Arc::new(mean), scale, loss })
    }

    /// The loader of the given part of every validation batch.
    pub(super) fn validation_loader(&self, part: (usize, usize)) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = data::LoaderPlan::testing(self.recipe.batch, (height, width)).part(part);
        Loader::new(Arc::clone(&self.validation), plan, self.workers, 0)
    }

    /// The loader of the given part of every training batch, in memory of the executor if it has
    /// such; `mean` is what is subtracted.
    pub(super) fn training_loader(
        &self,
        part: (usize, usize),
        mean: &Values,
        memory: &mut BatchMemory<'_>,
    ) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = self.recipe.augment.plan(self.recipe.batch, (height, width), self.seed);
        let plan = data::LoaderPlan { sampling: self.recipe.sampling.into(), ..plan.part(part) };
        let mean = plan.needs_mean().then(|| data::mean_bytes(&mean.values, self.train.size()));
        let mut builder = Loader::builder(Arc::clone(&self.train), plan).workers(self.workers);
        if let Some(mean) = mean {
            builder = builder.mean(mean);
        }
        let loader = builder.build_in(&mut |bytes| memory.make(bytes));
        loader.unwrap_or_else(|error| panic!("{error}"))
    }
}
