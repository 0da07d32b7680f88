//! Early stopping: a run ends once validations have stopped improving, and its weights are those
//! of the best one.

use crate::defaults::is_default;
use evaluate::Score;
use files::numbers::percent;
use serde::{Deserialize, Serialize};
use std::fmt;

/// When a run ends early. Validations after whole epochs count; one at the end of a run in the
/// middle of an epoch does not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// The run ends after this many validations in a row that are no improvement; at least 1.
    pub patience: u32,
    /// A validation is an improvement if it is lower than the last improvement by more than this.
    /// Errors are shares between 0 and 1.
    pub threshold: f64,
    /// What is compared.
    #[serde(skip_serializing_if = "is_default")]
    pub metric: Metric,
}

impl Default for EarlyStopping {
    fn default() -> EarlyStopping {
        EarlyStopping { patience: 10, threshold: 0.0, metric: Metric::Error }
    }
}

/// The result of a validation that is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// The top-1 error.
    #[default]
    Error,
    /// The mean loss.
    Loss,
}

impl Metric {
    /// The value that is compared.
    pub fn of(self, score: &Score) -> f64 {
        match self {
            Metric::Error => score.top1_error,
            Metric::Loss => score.loss,
        }
    }

    /// `top-1 error 12.5 %`, `loss 0.5000`.
    fn with(self, value: f64) -> String {
        match self {
            Metric::Error => format!("{self} {}", percent(value)),
            Metric::Loss => format!("{self} {value:.4}"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Error => "top-1 error",
            Metric::Loss => "loss",
        })
    }
}

/// A validation and its place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u32,
    /// The error or the loss.
    pub value: f64,
}

/// The state between validations; a part of every checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingState {
    /// The validation with the lowest value, the first of equal ones.
    pub best: Option<Validated>,
    /// The value of the last improvement.
    pub improved: Option<f64>,
    /// Validations since then.
    pub stale: u32,
}

impl EarlyStoppingState {
    /// The state after a validation.
    #[must_use]
    pub fn after(self, rule: &EarlyStopping, validated: Validated) -> EarlyStoppingState {
        let value = validated.value;
        let is_lower = |than: f64| value.is_finite() && value < than;
        let best = match self.best {
            Some(best) if !is_lower(best.value) => Some(best),
            best => Some(validated).filter(|_| value.is_finite()).or(best),
        };
        match self.improved {
            None if value.is_finite() => {
                EarlyStoppingState { best, improved: Some(value), stale: 0 }
            }
            Some(last) if is_lower(last - rule.threshold) => {
                EarlyStoppingState { best, improved: Some(value), stale: 0 }
            }
            improved => EarlyStoppingState { best, improved, stale: self.stale + 1 },
        }
    }

    /// Whether the run ends.
    pub fn is_over(&self, rule: &EarlyStopping) -> bool {
        self.stale >= rule.patience
    }
}

/// The weights that a run with early stopping has written, and why it ended: a part of `run.json`
/// and of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestWeights {
    /// What is compared.
    pub metric: Metric,
    /// The validation of these weights.
    #[serde(flatten)]
    pub validated: Validated,
    /// Validations without improvement.
    pub stale: u32,
    /// After how many of these a run ends.
    pub patience: u32,
    /// Whether it has ended for that reason.
    pub stopped: bool,
}

impl fmt::Display for BestWeights {
    /// `best validation: top-1 error 12.5 %, after epoch 7 (step 700); its weights are kept`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &BestWeights { metric, validated, stale, stopped, .. } = self;
        let Validated { step, epoch, value } = validated;
        if stopped {
            writeln!(
                f,
                "stopped early: the validation's {metric} has not improved for {stale} validations"
            )?;
        }
        write!(
            f,
            "weights are those of the best validation: {}, after epoch {epoch} (step {step})",
            metric.with(value)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_all(rule: &EarlyStopping, values: &[f64]) -> Vec<EarlyStoppingState> {
        let mut state = EarlyStoppingState::default();
        let numbered = (1..).zip(values);
        let states = numbered.map(|(epoch, &value)| {
            let step = 10 * u64::from(epoch);
            state = state.after(rule, Validated { step, epoch, value });
            state
        });
        states.collect()
    }

    #[test]
    fn patience_counts_validations_without_improvement() {
        let rule = EarlyStopping { patience: 2, ..EarlyStopping::default() };
        let states = after_all(&rule, &[0.5, 0.4, 0.4, 0.3, 0.35, 0.3]);
        let stale: Vec<u32> = states.iter().map(|state| state.stale).collect();
        assert_eq!(stale, [0, 0, 1, 0, 1, 2]); // an equal value is no improvement
        let over: Vec<bool> = states.iter().map(|state| state.is_over(&rule)).collect();
        assert_eq!(over, [false, false, false, false, false, true]);
        assert_eq!(states[5].best, Some(Validated { step: 40, epoch: 4, value: 0.3 }));
    }

    /// As in PyTorch Lightning's EarlyStopping: `min_delta` is measured from the last improvement,
    /// so that slow steady progress counts once it adds up. The best weights need no threshold.
    #[test]
    fn a_threshold_is_measured_from_the_last_improvement() {
        let rule = EarlyStopping { threshold: 0.1, ..EarlyStopping::default() };
        let states = after_all(&rule, &[0.5, 0.45, 0.41, 0.39, 0.38]);
        let stale: Vec<u32> = states.iter().map(|state| state.stale).collect();
        assert_eq!(stale, [0, 1, 2, 0, 1]);
        let best: Vec<u32> = states.iter().map(|state| state.best.unwrap().epoch).collect();
        assert_eq!(best, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_value_that_is_not_finite_never_improves() {
        let rule = EarlyStopping { metric: Metric::Loss, ..EarlyStopping::default() };
        let states = after_all(&rule, &[f64::NAN, 2.0, f64::INFINITY, f64::NAN]);
        assert_eq!((states[0].best, states[0].stale), (None, 1));
        assert_eq!((states[3].best.unwrap().value, states[3].stale), (2.0, 2));
    }

    #[test]
    fn settings_and_state_survive_text_and_defaults_are_filled_in() {
        let rule: EarlyStopping = toml::from_str("patience = 3\nmetric = \"loss\"").unwrap();
        let expected = EarlyStopping { patience: 3, threshold: 0.0, metric: Metric::Loss };
        assert_eq!(rule, expected);
        assert_eq!(toml::from_str::<EarlyStopping>("").unwrap(), EarlyStopping::default());
        assert!(toml::from_str::<EarlyStopping>("patence = 3").is_err());
        let state = after_all(&rule, &[0.3, 0.2, 0.25])[2];
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<EarlyStoppingState>(&text).unwrap(), state);
    }
}
