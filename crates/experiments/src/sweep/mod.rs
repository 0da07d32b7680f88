//! Sweeps: many runs with different settings, in search of the best.
//!
//! * [`Sweep`]: what a file asks for: a method, [`Parameter`]s, and the flags of `alexnet train`
//! * `space`: the values of parameters: all combinations, or random draws
//! * [`Rung`]: successive halving
//! * [`search`]: runs the trials, or those that are not finished yet, with a [`TrialRunner`]
//! * [`Results`]: what each trial came to, as a table, CSV and JSON

mod halving;
mod results;
mod search;
mod space;

pub use halving::{Rung, rungs};
pub use results::{Results, RungResult, TrialEnd, TrialResult};
pub use search::{TrialRunner, search};
pub use space::{Parameter, ParameterRange, Trial};

use evaluate::Score;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// More trials than this are a mistake.
pub const MOST_TRIALS: usize = 10_000;

/// A sweep, as its file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// How values are chosen.
    pub method: Method,
    /// The seed of random values.
    pub seed: u64,
    /// What the best trial has least of.
    pub metric: Metric,
    /// The parameters, by name.
    pub parameters: Vec<Parameter>,
    /// The flags of `alexnet train` for all trials, by name without dashes.
    pub train: Table,
}

/// How values are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Every combination of values.
    Grid,
    /// Random values.
    Random {
        /// The number of trials.
        trials: usize,
    },
    /// Random values; after a few epochs only the best trials go on, and so on: successive halving
    /// (Jamieson and Talwalkar 2016), one bracket of Hyperband (Li et al. 2018).
    Halving {
        /// The number of trials in the first rung.
        trials: usize,
        /// One in this many trials goes on, for this many times the epochs.
        eta: usize,
        /// The least epochs of the first rung.
        min_epochs: u32,
    },
}

/// What is compared: a result of the last validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Metric {
    /// The top-1 error.
    #[default]
    #[serde(rename = "validation error")]
    Error,
    /// The top-5 error.
    #[serde(rename = "top-5 error")]
    Top5Error,
    /// The mean loss.
    #[serde(rename = "validation loss")]
    Loss,
}

impl Metric {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Error => "validation error",
            Metric::Top5Error => "top-5 error",
            Metric::Loss => "validation loss",
        }
    }

    /// Its value; `None` if the score does not have it.
    pub fn of(self, score: &Score) -> Option<f64> {
        match self {
            Metric::Error => Some(score.top1_error),
            Metric::Top5Error => score.top5_error,
            Metric::Loss => Some(score.loss),
        }
    }

    /// A value for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::Error | Metric::Top5Error => files::numbers::percent(value),
            Metric::Loss => format!("{value:.4}"),
        }
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sweep: Search,
    parameters: BTreeMap<String, space::Written>,
    #[serde(default)]
    train: Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Search {
    method: MethodName,
    trials: Option<usize>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    metric: Metric,
    eta: Option<usize>,
    min_epochs: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MethodName {
    Grid,
    Random,
    Halving,
}

impl Sweep {
    /// Reads a sweep's file.
    ///
    /// # Errors
    /// A message that names the line or the key, and says what it may be.
    pub fn parse(text: &str) -> Result<Sweep, String> {
        let File { sweep, parameters, train } =
            toml::from_str(text).map_err(|error| error.to_string())?;
        let method = sweep.method()?;
        if parameters.is_empty() {
            return Err("there are no parameters: add one, such as [parameters.\"recipe.rate\"] \
                        with log-uniform = [1e-4, 1e-1]"
                .to_string());
        }
        let parameters = parameters.into_iter();
        let parameters = parameters
            .map(|(key, written)| {
                let range = written.range();
                let range = range.map_err(|error| format!("parameters.\"{key}\": {error}"))?;
                Ok(Parameter { key, range })
            })
            .collect::<Result<Vec<_>, String>>()?;
        let sweep = Sweep { method, seed: sweep.seed, metric: sweep.metric, parameters, train };
        sweep.trials().map(|_| sweep)
    }

    /// The trials, in the order in which they are run.
    ///
    /// # Errors
    /// If there are too many, or a grid of a continuous range.
    pub fn trials(&self) -> Result<Vec<Trial>, String> {
        match self.method {
            Method::Grid => space::grid(&self.parameters),
            Method::Random { trials } | Method::Halving { trials, .. } => {
                let draw = |number| space::draw(&self.parameters, self.seed, number);
                Ok((0..trials).map(draw).collect())
            }
        }
    }

    /// Whether results of the sweep in `earlier` are results of this one: they are the same but
    /// for more random trials.
    pub fn continues(&self, earlier: &Sweep) -> bool {
        let method = match (self.method, earlier.method) {
            (Method::Random { trials }, Method::Random { trials: before }) if before <= trials => {
                self.method
            }
            (_, before) => before,
        };
        *self == Sweep { method, ..earlier.clone() }
    }
}

impl Search {
    fn method(&self) -> Result<Method, String> {
        let of_halving = self.eta.is_some() || self.min_epochs.is_some();
        if of_halving && self.method != MethodName::Halving {
            return Err("sweep: `eta` and `min-epochs` belong to method = \"halving\"".to_string());
        }
        let trials = match (self.method, self.trials) {
            (MethodName::Grid, None) => return Ok(Method::Grid),
            (MethodName::Grid, Some(_)) => {
                return Err("sweep: a grid has as many trials as combinations: leave `trials` out"
                    .to_string());
            }
            (_, None) => return Err("sweep: `trials` is missing, such as trials = 20".to_string()),
            (_, Some(trials)) if (1..=MOST_TRIALS).contains(&trials) => trials,
            (_, Some(trials)) => {
                return Err(format!(
                    "sweep.trials is {trials}; it must be at least 1 and at most {MOST_TRIALS}"
                ));
            }
        };
        let (eta, min_epochs) = (self.eta.unwrap_or(3), self.min_epochs.unwrap_or(1));
        if !(2..=100).contains(&eta) {
            return Err(format!("sweep.eta is {eta}; it must be at least 2 and at most 100"));
        }
        if min_epochs == 0 {
            return Err("sweep.min-epochs is 0; it must be at least 1".to_string());
        }
        Ok(match self.method {
            MethodName::Halving => Method::Halving { trials, eta, min_epochs },
            _ => Method::Random { trials },
        })
    }
}

/// A value as it is shown: strings without quotes.
pub fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

#[cfg(test)]
mod tests;
