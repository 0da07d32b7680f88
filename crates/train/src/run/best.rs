//! Early stopping in a run: `weights.safetensors` has the weights of the best validation so far.
//!
//! They are written together with the checkpoint of that validation, which is kept. A process that
//! is killed may leave weights that are older or newer than its newest checkpoint knows of, so a
//! resumed run writes them again from the checkpoint that its state names.

use super::job::Job;
use super::training::Training;
use crate::checkpoint::{Files, Identity};
use crate::early_stopping::{BestWeights, EarlyStoppingState, Validated};
use crate::{Error, Result};

impl Job {
    /// Checks that early stopping has validation images that are not trained on.
    ///
    /// # Errors
    /// [`Error::Recipe`] if there are none.
    pub fn check_validation(&self, identity: &Identity) -> Result<()> {
        if self.recipe.early_stopping.is_none() {
            return Ok(());
        }
        let is_apart = identity.get("data.train") != identity.get("data.validation");
        if is_apart && !self.validation.is_empty() {
            return Ok(());
        }
        Err(Error::Recipe(
            "recipe.early-stopping compares validations, and the data has no validation images \
             besides the training images: add some, hold out every tenth training image, or leave \
             early stopping out"
                .to_string(),
        ))
    }
}

impl Training<'_> {
    /// Whether validations have stopped improving.
    pub(super) fn has_stopped_improving(&self) -> bool {
        let rule = &self.job.recipe.early_stopping;
        rule.as_ref().is_some_and(|rule| self.progress.early_stopping.is_over(rule))
    }

    /// The validation whose weights the run keeps: the best one after a whole epoch, or the one
    /// of the current weights, if it is better. `None` without early stopping and before the first
    /// validation.
    pub(super) fn best_weights(&self) -> Option<BestWeights> {
        let rule = self.job.recipe.early_stopping?;
        let progress = &self.progress;
        let EarlyStoppingState { best, stale, .. } = progress.early_stopping;
        let current = progress.validation.filter(|(step, _)| *step == progress.step);
        let current = current.map(|(step, score)| Validated {
            step,
            epoch: progress.epoch,
            value: rule.metric.of(&score),
        });
        let better = current
            .filter(|now| now.value.is_finite() && best.is_none_or(|best| now.value < best.value));
        Some(BestWeights {
            metric: rule.metric,
            validated: better.or(best)?,
            stale,
            patience: rule.patience,
            stopped: self.has_stopped_improving(),
        })
    }

    /// Whether the weights to keep are those of an earlier step, which have been written.
    pub(super) fn keeps_earlier_weights(&self) -> bool {
        self.best_weights().is_some_and(|best| best.validated.step != self.progress.step)
    }

    /// The files to write after a validation.
    pub(super) fn files_after_validation(&self, is_old: bool) -> Files {
        let with_weights = match self.best_weights() {
            None => is_old,
            Some(best) => best.validated.step == self.progress.step,
        };
        if with_weights { Files::CheckpointAndWeights } else { Files::Checkpoint }
    }
}
