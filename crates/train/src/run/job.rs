//! What decides a run's bits.

use crate::checkpoint::{Checkpoint, Policy};
use crate::init::Init;
use crate::recipe::{Mean, Recipe};
use crate::start::{InitialState, Start};
use data::{Loader, Source, Statistics};
use layers::Spec;
use std::sync::Arc;
use weights::{About, Values, Weights};

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
    /// Parameters that are taken over instead of drawn, if the run begins; one that goes on needs
    /// none.
    pub init: Option<Arc<Init>>,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Validate after every so many epochs, and after the last.
    pub validate_every: u32,
    /// When it is saved.
    pub checkpoints: Policy,
    /// What each class is called in words, in the order of labels, for the file of weights; empty:
    /// nothing but what `train` calls them. Names need not be unique, and decide nothing.
    pub class_names: Vec<String>,
}

impl Job {
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

    /// What the run starts from: its checkpoint, or parameters that are drawn.
    pub fn start(&self, from: Option<Arc<Checkpoint>>) -> Start {
        let state = match from {
            Some(checkpoint) => InitialState::Checkpoint(checkpoint),
            None => InitialState::Fresh {
                recipe: Arc::new(self.recipe.clone()),
                inherit: self.init.clone(),
            },
        };
        let (mean, scale) = (Arc::new(self.mean()), self.recipe.input.scale);
        Start { state, seed: self.seed, mean, scale }
    }

    /// Loads the given part of every batch, here and below.
    pub(super) fn validation_loader(&self, part: (usize, usize)) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = data::Plan::testing(self.recipe.batch, (height, width)).part(part);
        Loader::new(Arc::clone(&self.validation), plan, self.workers, 0)
    }

    pub(super) fn training_loader(&self, part: (usize, usize)) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = self.recipe.augment.plan(self.recipe.batch, (height, width), self.seed);
        let plan = plan.part(part);
        Loader::new(Arc::clone(&self.train), plan, self.workers, 0)
    }
}
