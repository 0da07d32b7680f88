//! The weights that a run with early stopping has kept.

use crate::Run;
use crate::curves::ValidationPoint;
use files::numbers::percent;
use std::fmt;

/// The validation whose weights a run has kept, and whether it has ended the run.
#[derive(Clone, Copy, Debug)]
pub struct KeptWeights<'a> {
    /// That validation, if it was logged.
    pub validation: Option<&'a ValidationPoint>,
    epoch: u64,
    step: u64,
    value: f64,
    is_loss: bool,
    /// The number of validations without improvement that ended the run, if they did.
    ended_after: Option<u64>,
}

impl Run {
    /// The weights that early stopping has kept, as `run.json` has them.
    pub fn kept_weights(&self) -> Option<KeptWeights<'_>> {
        let kept = self.status.get("early_stopping")?;
        let step = kept["step"].as_u64()?;
        let is_it = |point: &&ValidationPoint| point.step == step as f64;
        Some(KeptWeights {
            validation: self.curves.validation.iter().rev().find(is_it),
            epoch: kept["epoch"].as_u64()?,
            step,
            value: kept["value"].as_f64()?,
            is_loss: kept["metric"] == "loss",
            ended_after: kept["stale"].as_u64().filter(|_| kept["stopped"] == true),
        })
    }
}

impl fmt::Display for KeptWeights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &KeptWeights { epoch, step, value, is_loss, .. } = self;
        let name = if is_loss { "loss" } else { "top-1 error" };
        if let Some(validations) = self.ended_after {
            write!(
                f,
                "Stopped early: the validation's {name} has not improved for {validations} \
                 validations. "
            )?;
        }
        let value = if is_loss { format!("{value:.4}") } else { percent(value) };
        write!(
            f,
            "The weights are those of the best validation: {name} {value}, after epoch {epoch} \
             (step {step})."
        )
    }
}
