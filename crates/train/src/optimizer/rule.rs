//! The settings of a recipe on which the memory and the passes of an update depend.

use crate::defaults::is_default;
use crate::recipe::{self, Recipe};
use crate::{Error, Result};
use kernels::sgd;
use serde::{Deserialize, Serialize};
use weights::{AVERAGE, SECOND_MOMENT, VELOCITY};

/// The settings of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateRule {
    /// The update.
    pub optimizer: recipe::Optimizer,
    /// Whether SGD's momentum is Nesterov's.
    pub nesterov: bool,
    /// The maximum norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// The maximum absolute value of a gradient.
    pub clip_value: Option<f64>,
    /// The average of the weights.
    pub ema: Option<Ema>,
}

/// An exponential moving average of the weights, which validations and the file of weights use:
/// `a <- decay a + (1 - decay) w` after every update; the first one copies w, and before it a is w.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ema {
    /// The share that stays.
    pub decay: f64,
    /// The steps from one update of the average to the next.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub every: u64,
    /// Whether the decay is at most (1 + n) / (10 + n) after n updates.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup: bool,
}

fn one() -> u64 {
    1
}

fn is_one(every: &u64) -> bool {
    *every == 1
}

impl Ema {
    /// The decay of the update after a step, counted from one; `None` if there is none. Up to the
    /// first update the average is the weights themselves.
    pub fn decay_at(&self, step: u64) -> Option<f64> {
        if (1..self.every).contains(&step) {
            return Some(0.0);
        }
        if step == 0 || !step.is_multiple_of(self.every) {
            return None;
        }
        let before = (step / self.every - 1) as f64;
        if before == 0.0 {
            return Some(0.0);
        }
        let most = if self.warmup { (1.0 + before) / (10.0 + before) } else { 1.0 };
        Some(self.decay.min(most))
    }
}

impl UpdateRule {
    /// The settings of a recipe.
    pub fn of(recipe: &Recipe) -> UpdateRule {
        let &Recipe { optimizer, nesterov, clip_norm, clip_value, ema, .. } = recipe;
        UpdateRule { optimizer, nesterov, clip_norm, clip_value, ema }
    }

    /// Checks that a recipe trains by this rule, for which memory and passes are planned.
    ///
    /// # Errors
    /// [`Error::Recipe`] with both.
    pub fn check(&self, recipe: &Recipe) -> Result<()> {
        let wanted = UpdateRule::of(recipe);
        if *self == wanted {
            return Ok(());
        }
        Err(Error::Recipe(format!(
            "the recipe trains with {wanted:?}, and the step is planned for {self:?}: plan it with \
             UpdateRule::of(&recipe)"
        )))
    }

    /// The prefixes of the names that tensors of the optimizer's state have in a checkpoint, in the
    /// order of a snapshot.
    pub fn state(&self) -> impl Iterator<Item = &'static str> {
        let second = self.optimizer.is_adam().then_some(SECOND_MOMENT);
        let average = self.ema.map(|_| AVERAGE);
        [VELOCITY].into_iter().chain(second).chain(average)
    }

    /// The form of SGD.
    pub(super) fn sgd(&self) -> sgd::Rule {
        match (self.optimizer, self.nesterov) {
            (recipe::Optimizer::SgdPytorch, false) => sgd::Rule::Pytorch,
            (recipe::Optimizer::SgdPytorch, true) => sgd::Rule::PytorchNesterov,
            (_, true) => sgd::Rule::PaperNesterov,
            (_, false) => sgd::Rule::Paper,
        }
    }

    /// In words, behind the name of the optimizer: `, nesterov, gradients of norm 1 at most`.
    pub(crate) fn summary(&self) -> String {
        let mut text = match self.optimizer {
            recipe::Optimizer::Sgd => String::new(),
            recipe::Optimizer::SgdPytorch => ", PyTorch's SGD".to_string(),
            recipe::Optimizer::Adam => ", Adam".to_string(),
            recipe::Optimizer::AdamW => ", AdamW".to_string(),
        };
        if self.nesterov {
            text += ", Nesterov's momentum";
        }
        if let Some(norm) = self.clip_norm {
            text += &format!(", gradients clipped to norm {norm}");
        }
        if let Some(value) = self.clip_value {
            text += &format!(", gradients clipped to +-{value}");
        }
        if let Some(Ema { decay, .. }) = self.ema {
            text += &format!(", weights averaged with decay {decay}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factor of timm and of TensorFlow's ExponentialMovingAverage with `num_updates`.
    #[test]
    fn the_first_update_copies_and_later_ones_warm_up() {
        let ema = Ema { decay: 0.75, every: 2, warmup: true };
        let decays: Vec<Option<f64>> = (0..=6).map(|step| ema.decay_at(step)).collect();
        let [second, third] = [2.0 / 11.0, 3.0 / 12.0];
        assert_eq!(decays, [None, Some(0.0), Some(0.0), None, Some(second), None, Some(third)]);
        let rare = Ema { every: 1000, ..ema };
        assert_eq!(
            [1, 999, 1000, 1001].map(|step| rare.decay_at(step)),
            [Some(0.0), Some(0.0), Some(0.0), None]
        );
        assert_eq!(ema.decay_at(200), Some(0.75));
        let plain = Ema { decay: 0.75, every: 1, warmup: false };
        assert_eq!([1, 2].map(|step| plain.decay_at(step)), [Some(0.0), Some(0.75)]);
    }

    #[test]
    fn state_is_listed_in_order() {
        let plain = UpdateRule::default();
        assert_eq!(plain.state().collect::<Vec<_>>(), [VELOCITY]);
        let ema = Some(Ema { decay: 0.9, every: 1, warmup: false });
        let all = UpdateRule { optimizer: recipe::Optimizer::AdamW, ema, ..plain };
        assert_eq!(all.state().collect::<Vec<_>>(), [VELOCITY, SECOND_MOMENT, AVERAGE]);
    }
}
