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

    /// What is wrong with it in a run of `steps` steps, `batches` in an epoch: that it takes them
    /// all.
    pub(crate) fn remark(&self, steps: u64, batches: usize) -> Option<String> {
        let length = self.length(Per::Step, batches as f64);
        (length >= steps as f64).then(|| {
            format!(
                "WARNING: the warm-up of {length} steps is as long as the run of {steps} steps: \
                 rates only rise. Shorten recipe.warmup"
            )
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warmup_that_takes_the_whole_run_is_remarked() {
        let of = |epochs, steps| Warmup { epochs, steps, start: 0.1 };
        for long in [of(None, Some(8)), of(None, Some(9)), of(Some(2.0), None)] {
            let said = long.remark(8, 4).unwrap();
            assert!(said.contains("as long as the run of 8 steps"), "{said}");
        }
        for short in [of(None, Some(7)), of(Some(1.5), None)] {
            assert_eq!(short.remark(8, 4), None);
        }
    }
}
