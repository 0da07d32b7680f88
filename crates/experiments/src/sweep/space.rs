//! The values of a sweep's parameters.

use super::MOST_TRIALS;
use random::{Purpose, Stream};
use serde::Deserialize;
use toml::Value;

/// A setting that differs between trials.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name, as `--set` has it.
    pub key: String,
    /// Its values.
    pub range: ParameterRange,
}

/// The values of a parameter. Random numbers are rounded to four digits, so that they can be typed.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterRange {
    /// One of a list.
    Values(Vec<Value>),
    /// A number between two.
    Uniform {
        /// The lowest.
        low: f64,
        /// The highest.
        high: f64,
        /// In a grid: so many numbers at equal distances.
        points: Option<usize>,
    },
    /// A number between two, uniform in its logarithm.
    LogUniform {
        /// The lowest, above 0.
        low: f64,
        /// The highest.
        high: f64,
        /// In a grid: so many numbers at equal ratios.
        points: Option<usize>,
    },
    /// A whole number between two, both included.
    Int {
        /// The lowest.
        low: i64,
        /// The highest.
        high: i64,
    },
}

/// A run of a sweep: the values of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number, from 0.
    pub number: usize,
    /// Keys and values, in the order of the parameters.
    pub values: Vec<(String, Value)>,
}

impl Trial {
    /// What `--set` receives: `recipe.rate=0.01`.
    pub fn assignments(&self) -> Vec<String> {
        self.values.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// `recipe.rate=0.01 model=alexnet-64`, for people.
    pub fn summary(&self) -> String {
        let shown = |(key, value): &(String, Value)| format!("{key}={}", super::shown(value));
        self.values.iter().map(shown).collect::<Vec<_>>().join(" ")
    }
}

/// A parameter in a sweep's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    values: Option<Vec<Value>>,
    uniform: Option<[f64; 2]>,
    log_uniform: Option<[f64; 2]>,
    int: Option<[i64; 2]>,
    points: Option<usize>,
}

impl Written {
    /// # Errors
    /// If it is not exactly one range, or an empty one.
    pub(super) fn range(self) -> Result<ParameterRange, String> {
        const ONE: &str = "give one of `values`, `uniform`, `log-uniform` and `int`";
        let Written { values, uniform, log_uniform, int, points } = self;
        if points.is_some() && uniform.is_none() && log_uniform.is_none() {
            return Err("`points` belongs to `uniform` or `log-uniform`".to_string());
        }
        if points.is_some_and(|points| !(2..=MOST_TRIALS).contains(&points)) {
            return Err(format!("`points` must be at least 2 and at most {MOST_TRIALS}"));
        }
        let ordered = |name: &str, [low, high]: [f64; 2]| {
            let is_range = low.is_finite() && high.is_finite() && low < high;
            let message = format!("{name} = [{low}, {high}]: the first must be below the second");
            if is_range { Ok((low, high)) } else { Err(message) }
        };
        match (values, uniform, log_uniform, int) {
            (Some(values), None, None, None) if values.is_empty() => {
                Err("`values` is empty".to_string())
            }
            (Some(values), None, None, None) => Ok(ParameterRange::Values(values)),
            (None, Some(range), None, None) => {
                let (low, high) = ordered("uniform", range)?;
                Ok(ParameterRange::Uniform { low, high, points })
            }
            (None, None, Some(range), None) => {
                let (low, high) = ordered("log-uniform", range)?;
                if low <= 0.0 {
                    return Err(format!("log-uniform = [{low}, {high}]: both must be above 0"));
                }
                Ok(ParameterRange::LogUniform { low, high, points })
            }
            (None, None, None, Some([low, high])) if low < high => {
                Ok(ParameterRange::Int { low, high })
            }
            (None, None, None, Some([low, high])) => {
                Err(format!("int = [{low}, {high}]: the first must be below the second"))
            }
            _ => Err(ONE.to_string()),
        }
    }
}

impl ParameterRange {
    /// A value for a number in [0, 1).
    fn at(&self, unit: f64) -> Value {
        match self {
            ParameterRange::Values(values) => {
                let idx = (unit * values.len() as f64) as usize;
                values[idx.min(values.len() - 1)].clone()
            }
            &ParameterRange::Uniform { low, high, .. } => {
                Value::from(rounded(low + (high - low) * unit).clamp(low, high))
            }
            &ParameterRange::LogUniform { low, high, .. } => {
                let value = (low.ln() + (high.ln() - low.ln()) * unit).exp();
                Value::from(rounded(value).clamp(low, high))
            }
            &ParameterRange::Int { low, high } => {
                let count = high.wrapping_sub(low) as u64 as f64 + 1.0;
                Value::from(low.saturating_add((unit * count) as i64).min(high))
            }
        }
    }

    /// The values of a grid.
    fn all(&self, key: &str) -> Result<Vec<Value>, String> {
        let spread = |points: Option<usize>| {
            let points = points.ok_or_else(|| {
                format!(
                    "parameters.\"{key}\": a grid needs `values`, or `points` beside the range, \
                     such as points = 5"
                )
            })?;
            // The ends are exact: `at` clamps.
            Ok((0..points).map(move |idx| self.at(idx as f64 / (points - 1) as f64)).collect())
        };
        match self {
            ParameterRange::Values(values) => Ok(values.clone()),
            ParameterRange::Uniform { points, .. } | ParameterRange::LogUniform { points, .. } => {
                spread(*points)
            }
            &ParameterRange::Int { low, high } if high.abs_diff(low) < MOST_TRIALS as u64 => {
                Ok((low..=high).map(Value::from).collect())
            }
            ParameterRange::Int { low, high } => Err(format!(
                "parameters.\"{key}\": a grid of {low} to {high} has more than {MOST_TRIALS} \
                 values"
            )),
        }
    }
}

/// Four digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number was written")
}

/// The values of a trial, each named by the seed, the trial and the parameter's name.
pub(super) fn draw(parameters: &[Parameter], seed: u64, number: usize) -> Trial {
    let value = |parameter: &Parameter| {
        let mut stream = Stream::new(seed, Purpose::Sweep, number as u32, digest(&parameter.key));
        let unit = f64::from(stream.next()) / 2f64.powi(32);
        (parameter.key.clone(), parameter.range.at(unit))
    };
    Trial { number, values: parameters.iter().map(value).collect() }
}

/// FNV-1a.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Every combination; the last parameter changes fastest.
pub(super) fn grid(parameters: &[Parameter]) -> Result<Vec<Trial>, String> {
    let mut rows: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for Parameter { key, range } in parameters {
        let values = range.all(key)?;
        if rows.len() * values.len() > MOST_TRIALS {
            return Err(format!("the grid has more than {MOST_TRIALS} trials: use fewer values"));
        }
        let with = |row: &Vec<(String, Value)>, value: &Value| {
            let mut row = row.clone();
            row.push((key.clone(), value.clone()));
            row
        };
        rows = rows.iter().flat_map(|row| values.iter().map(move |v| with(row, v))).collect();
    }
    let trial = |(number, values)| Trial { number, values };
    Ok(rows.into_iter().enumerate().map(trial).collect())
}
