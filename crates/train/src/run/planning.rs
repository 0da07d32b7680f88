//! A job's network, laid out for one device.

use super::job::Job;
use crate::plan::SingleDevicePlan;
use crate::recipe::{Mean, Optimizer, Recipe};
use crate::{Error, Result};
use layers::Spec;
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
    pub fn plan(&self, target: Target) -> Result<SingleDevicePlan> {
        self.blueprint().plan(target)
    }
}

impl Blueprint<'_> {
    /// Lays the network out on such a device.
    ///
    /// # Errors
    /// [`Error::Network`]; [`Error::Recipe`] if the images are smaller than the crops, the
    /// augmentation is out of range, or batches are to be cut, which is for the crate
    /// `alexnet-parallel`.
    pub fn plan(&self, target: Target) -> Result<SingleDevicePlan> {
        let &Recipe { batch, optimizer, shards, .. } = self.recipe;
        if shards != 1 {
            let told = format!("recipe.shards is {shards}: one device takes whole batches here");
            return Err(Error::Recipe(told));
        }
        match optimizer {
            Optimizer::Sgd => SingleDevicePlan::new(self.spec, batch, self.input()?, target),
            Optimizer::Adam => SingleDevicePlan::with_adam(self.spec, batch, self.input()?, target),
        }
    }

    /// What is subtracted from an image, and the size of the images.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn input(&self) -> Result<(Mean, [usize; 2])> {
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
