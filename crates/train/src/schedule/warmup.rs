//! Warm-up: the first steps have lower rates.

use super::Per;
use serde::{Deserialize, Serialize};

/// Rates that rise in a straight line in the first steps, from `start` to the schedule's: Goyal et
/// al. 2017 (arXiv 1706.02677), section 2.2; PyTorch's `LinearLR` before another schedule in
/// `SequentialLR`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Its length in epochs, which may be a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Its length in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The factor of the first step.
    #[serde(default = "start")]
    pub start: f64,
}

/// torchvision's reference scripts have this one for long schedules.
fn start() -> f64 {
    0.01
}

impl Warmup {
    /// Its length in steps or epochs, where an epoch has so many steps.
    pub(super) fn length(&self, per: Per, batches: f64) -> f64 {
        match (per, self.epochs, self.steps) {
            (Per::Step, Some(epochs), _) => epochs * batches,
            (Per::Epoch, Some(epochs), _) => epochs,
            (Per::Step, None, steps) => steps.unwrap_or(0) as f64,
            (Per::Epoch, None, steps) => steps.unwrap_or(0) as f64 / batches,
        }
    }

    /// The factor of the rate at `now`; `None` after the warm-up.
    pub(super) fn factor(&self, now: f64, length: f64) -> Option<f64> {
        (now < length).then(|| self.start + (1.0 - self.start) * now / length)
    }

    /// Whether it has a length.
    ///
    /// # Errors
    /// What is wrong, with the remedy.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (self.epochs, self.steps) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err("recipe.warmup has either `epochs` or `steps`: for example recipe.warmup = \
                      { epochs = 5, start = 0.01 }"
                .to_string()),
        }
    }

    /// In words: `after 5 epochs of warm-up from x 0.01`.
    pub(crate) fn summary(&self) -> String {
        let length = match (self.epochs, self.steps) {
            (Some(epochs), _) => format!("{epochs} epochs"),
            (None, steps) => format!("{} steps", steps.unwrap_or(0)),
        };
        format!("after {length} of warm-up from x {}", self.start)
    }
}
