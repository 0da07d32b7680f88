//! Plans of jobs for one device.

use super::job::Job;
use crate::optimizer::UpdateRule;
use crate::plan::SingleDevicePlan;
use crate::recipe::Recipe;
use crate::{Error, Result};
use evaluate::FrameInput;
use layers::Spec;
use tensor::Target;

/// The settings of a job on which its plan depends.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// The network.
    pub spec: &'a Spec,
    /// The hyper-parameters.
    pub recipe: &'a Recipe,
    /// Height and width of the stored images, from which crops are taken.
    pub stored: [usize; 2],
}

impl Job {
    /// The settings of this job on which its plan depends.
    pub fn blueprint(&self) -> Blueprint<'_> {
        let (height, width) = self.train.size();
        Blueprint { spec: &self.spec, recipe: &self.recipe, stored: [height, width] }
    }

    /// Plans this job for a target device.
    ///
    /// # Errors
    /// As [`Blueprint::plan`].
    pub fn plan(&self, target: Target) -> Result<SingleDevicePlan> {
        self.blueprint().plan(target)
    }
}

impl Blueprint<'_> {
    /// Plans the network for a target device.
    ///
    /// # Errors
    /// [`Error::Network`]; [`Error::Recipe`] if the images are smaller than the crops, the
    /// augmentation is out of range, or the recipe has micro-shards, which need the crate
    /// `alexnet-parallel`.
    pub fn plan(&self, target: Target) -> Result<SingleDevicePlan> {
        let &Recipe { batch, shards, .. } = self.recipe;
        if shards != 1 {
            let reason = format!("recipe.shards is {shards}: one device processes whole batches");
            return Err(Error::Recipe(reason));
        }
        let rule = UpdateRule::of(self.recipe);
        SingleDevicePlan::with_rule(self.spec, batch, self.input()?, target, &rule)
    }

    /// The kind of mean that is subtracted, the height and width of stored images, and the form of
    /// the loss.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn input(&self) -> Result<FrameInput> {
        self.recipe.augment.check().map_err(Error::Recipe)?;
        let [stored_height, stored_width] = self.stored;
        let [height, width, _] = self.spec.input;
        if height > stored_height || width > stored_width {
            return Err(Error::Recipe(format!(
                "crops of {height} x {width} cannot be taken from images of {stored_height} x \
                 {stored_width}: raise recipe.input.side"
            )));
        }
        Ok(FrameInput {
            mean: self.recipe.input.mean,
            stored: self.stored,
            dense_targets: self.recipe.has_dense_targets(),
        })
    }
}
