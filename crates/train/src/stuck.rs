//! A loss that stays at ln(classes): the network gives every image the same probabilities.

use serde::{Deserialize, Serialize};

/// Counts the steps with a loss at chance level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Consecutive steps at chance level.
    steps: u64,
    /// Whether the user has been warned, which happens once.
    said: bool,
}

impl Stuck {
    /// A mean loss of twenty steps within this distance of ln(classes) is at chance.
    const NEAR: f64 = 0.02;

    /// The steps at chance level after which a run of `steps` steps warns.
    ///
    /// The paper's recipe leaves chance late, and later with more classes; a short run warns early.
    pub(crate) fn patience(steps: u64) -> u64 {
        (steps / 4).clamp(200, 2000)
    }

    /// Counts a step with its recent mean loss; returns the warning when it is due.
    pub(crate) fn see(&mut self, loss: f64, classes: usize, patience: u64) -> Option<String> {
        let chance = (classes as f64).ln();
        self.steps = if (loss - chance).abs() < Self::NEAR { self.steps + 1 } else { 0 };
        if self.said || classes < 2 || self.steps < patience {
            return None;
        }
        self.said = true;
        Some(format!(
            "the loss has stayed at ln({classes}) = {chance:.3} for {patience} steps: the network \
             tells no two images apart. Likely causes: a learning rate ten times too low or too \
             high (try --lr), images scaled down before they enter (recipe.input.scale), or labels \
             that do not belong to the images (look with `alexnet data show`). Can it learn a few \
             images by heart? Try --overfit 64"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of 1000 steps at which it warns.
    fn spoken(loss: impl Fn(u64) -> f64) -> Option<u64> {
        let mut stuck = Stuck::default();
        let spoken: Vec<u64> =
            (0..1000).filter(|&step| stuck.see(loss(step), 10, 250).is_some()).collect();
        assert!(spoken.len() <= 1, "said twice");
        spoken.first().copied()
    }

    #[test]
    fn what_stays_at_chance_is_told_once_and_what_leaves_it_never() {
        let chance = std::f64::consts::LN_10;
        assert_eq!(Stuck::patience(1000), 250);
        assert_eq!((Stuck::patience(10), Stuck::patience(1 << 20)), (200, 2000));
        assert_eq!(spoken(|_| chance), Some(249));
        assert_eq!(spoken(|step| if step < 100 { 2.5 } else { 2.29 }), Some(349));
        assert_eq!(spoken(|step| chance - 1e-3 * step as f64), None); // learns slowly
        assert_eq!(spoken(|step| if step % 200 == 0 { 2.2 } else { chance }), None);
        assert_eq!(spoken(|_| 2.0), None);
    }
}
