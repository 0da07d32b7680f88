//! A job's network, laid out for one device or for one of several.

use super::job::Job;
use crate::recipe::{Mean, Optimizer, Recipe};
use crate::replicas::Cut;
use crate::step::Plan;
use crate::{Error, Result, towers};
use layers::towers::Towers;
use layers::{Mode, Spec};
use tensor::Target;

/// What of a job decides how its network is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// The network.
    pub spec: &'a Spec,
    /// How it is trained.
    pub recipe: &'a Recipe,
    /// Height and width of the images that crops are taken from.
    pub stored: [usize; 2],
}

impl Job {
    /// What of this job decides how its network is laid out.
    pub fn blueprint(&self) -> Blueprint<'_> {
        let (height, width) = self.train.size();
        Blueprint { spec: &self.spec, recipe: &self.recipe, stored: [height, width] }
    }

    /// Lays the network out for this job on such a device.
    ///
    /// # Errors
    /// As [`Blueprint::plan`].
    pub fn plan(&self, target: Target) -> Result<Plan> {
        self.blueprint().plan(target)
    }
}

impl Blueprint<'_> {
    /// Lays the network out on such a device.
    ///
    /// # Errors
    /// [`Error::Network`], or [`Error::Recipe`] if the images are smaller than the crops or the
    /// augmentation is out of range.
    pub fn plan(&self, target: Target) -> Result<Plan> {
        let &Recipe { batch, optimizer, shards, .. } = self.recipe;
        match (shards, optimizer) {
            (1, Optimizer::Sgd) => Plan::new(self.spec, batch, Mode::Train, self.input()?, target),
            (1, Optimizer::Adam) => Plan::with_adam(self.spec, batch, self.input()?, target),
            _ => self.plan_replica((0, 1), target),
        }
    }

    /// Lays the network out for one rank of a world that shares every batch, on such a device.
    ///
    /// # Errors
    /// As [`plan`](Self::plan); [`Error::Recipe`] if the recipe's micro-shards cannot be shared
    /// evenly.
    pub fn plan_replica(&self, of: (usize, usize), target: Target) -> Result<Plan> {
        let (batch, cut) = (self.recipe.batch, self.cut(of)?);
        Plan::of_replica(self.spec, batch, cut, self.input()?, target)
    }

    /// As [`plan_replica`](Self::plan_replica), with a share of the linear layers' units: see
    /// [`hybrid`](crate::hybrid).
    ///
    /// # Errors
    /// As there, and [`Error::Network`] if the units cannot be shared.
    pub fn plan_hybrid(&self, of: (usize, usize), target: Target) -> Result<Plan> {
        let (batch, cut) = (self.recipe.batch, self.cut(of)?);
        Plan::of_hybrid(self.spec, batch, cut, self.input()?, target)
    }

    fn cut(&self, of: (usize, usize)) -> Result<Cut> {
        self.recipe.check_shared()?;
        let &Recipe { batch, shards, wire, .. } = self.recipe;
        Ok(Cut { wire, ..Cut::new(batch, shards, of)? })
    }

    /// Lays out each of the network's `towers` on a device of its own.
    ///
    /// # Errors
    /// As [`plan`](Self::plan), and [`Error::Recipe`] if the recipe has micro-shards.
    pub fn plan_towers(&self, towers: &Towers, targets: &[Target]) -> Result<Vec<Plan>> {
        self.recipe.check_shared()?;
        if self.recipe.shards != 1 {
            let told = "towers see whole batches: train with recipe.shards = 1 (--micro-shards 1)";
            return Err(Error::Recipe(told.to_string()));
        }
        towers::plan(towers, self.recipe.batch, Mode::Train, self.input()?, targets)
    }

    /// What is subtracted from an image, and the size of the images.
    fn input(&self) -> Result<(Mean, [usize; 2])> {
        self.recipe.augment.check().map_err(Error::Recipe)?;
        let [stored_height, stored_width] = self.stored;
        let [height, width, _] = self.spec.input;
        if height > stored_height || width > stored_width {
            return Err(Error::Recipe(format!(
                "crops of {height} x {width} cannot be taken from images of {stored_height} x \
                 {stored_width}: raise recipe.input.side"
            )));
        }
        Ok((self.recipe.input.mean, self.stored))
    }
}
