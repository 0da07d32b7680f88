//! Saved results of a run.

use crate::machine::{Machine, today};
use crate::median;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// The results of a run, which `--save` writes and `--baseline` reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The version of the file format.
    pub format: u32,
    /// The machine.
    pub machine: Machine,
    /// The day, UTC.
    pub date: String,
    /// The command line.
    pub command: String,
    /// The measurements.
    pub rows: Vec<Measurement>,
}

/// The workload of a group of rows. Measurements of different workloads are not comparable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// A built-in model.
    pub model: String,
    /// `train`, `infer` or `epoch`.
    pub mode: String,
    /// Images per step.
    pub batch: usize,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, batch {}", self.model, self.mode, self.batch)
    }
}

/// The values of a measurement; less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The workload.
    #[serde(flatten)]
    pub work: Workload,
    /// `step`, or a part of it: `conv1 forward`.
    pub what: String,
    /// `ms` or `MiB`.
    pub unit: String,
    /// The median of `values`.
    pub median: f64,
    /// All values, in order.
    pub values: Vec<f64>,
    /// PyTorch's values, measured alternately with ours; empty if it did not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peer: Vec<f64>,
}

impl Measurement {
    /// Milliseconds of `what`.
    ///
    /// # Panics
    /// If there are no values.
    pub fn ms(
        work: &Workload,
        what: impl Into<String>,
        values: Vec<f64>,
        peer: Vec<f64>,
    ) -> Measurement {
        let (work, median) = (work.clone(), median(values.clone()));
        Measurement { work, what: what.into(), unit: "ms".into(), median, values, peer }
    }
}

impl Results {
    /// The format version of this program.
    pub const FORMAT: u32 = 1;

    /// Results of this machine, with today's date.
    pub fn here(machine: Machine, command: &str, rows: Vec<Measurement>) -> Results {
        let command = command.to_string();
        Results { format: Self::FORMAT, machine, date: today(), command, rows }
    }

    /// Reads a file of [`save`](Self::save).
    ///
    /// # Errors
    /// A message with the path, if the file cannot be read or has another format.
    pub fn load(path: &Path) -> Result<Results, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            format!("{shown}: {error}; make a baseline with `cargo xtask bench --save {shown}`")
        })?;
        let results: Results = serde_json::from_str(&text)
            .map_err(|error| format!("{shown} is not a saved run of this program: {error}"))?;
        if results.format != Self::FORMAT {
            let (theirs, ours) = (results.format, Self::FORMAT);
            return Err(format!(
                "{shown} has format version {theirs}, this program reads {ours}: save it again"
            ));
        }
        let is_valid = |row: &&Measurement| {
            let positive = |values: &[f64]| values.iter().all(|v| v.is_finite() && *v > 0.0);
            !row.values.is_empty() && positive(&row.values) && positive(&row.peer)
        };
        match results.rows.iter().find(|row| !is_valid(row)) {
            Some(row) => Err(format!(
                "{shown}: `{}, {}` has no usable values: save it again",
                row.work, row.what
            )),
            None => Ok(results),
        }
    }

    /// Replaces the file atomically.
    ///
    /// # Errors
    /// A message with the path.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        replace(path, &text)
    }

    /// The distinct workloads, in order.
    pub fn workloads(&self) -> Vec<Workload> {
        let mut workloads: Vec<Workload> = Vec::new();
        for row in &self.rows {
            if !workloads.contains(&row.work) {
                workloads.push(row.work.clone());
            }
        }
        workloads
    }
}

/// Writes a temporary file and renames it.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let done = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    done.map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_runs_are_read_and_other_files_refused() {
        let work = Workload { model: "alexnet".into(), mode: "train".into(), batch: 128 };
        let rows = vec![
            Measurement::ms(&work, "step", vec![3.0, 1.0, 2.0], vec![4.0, 5.0, 6.0]),
            Measurement::ms(&work, "conv1 forward", vec![0.5], Vec::new()),
        ];
        let run = Results::here(Machine::here(1), "cargo xtask bench", rows);
        assert_eq!((run.rows[0].median, run.workloads()), (2.0, vec![work]));
        let folder = std::env::temp_dir().join(format!("alexnet-results-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run.json");
        run.save(&path).unwrap();
        assert_eq!(Results::load(&path), Ok(run.clone()));

        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            Results::load(&path).unwrap_err()
        };
        let error = refused("{}");
        assert!(error.contains("run.json") && error.contains("not a saved run"), "{error}");
        let later = Results { format: 2, ..run.clone() };
        let error = refused(&serde_json::to_string(&later).unwrap());
        assert!(error.contains("format version 2") && error.contains("save it again"), "{error}");
        let mut empty = run;
        empty.rows[1].values.clear();
        let error = refused(&serde_json::to_string(&empty).unwrap());
        assert!(error.contains("conv1 forward") && error.contains("no usable"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
        let error = Results::load(&path).unwrap_err();
        assert!(error.contains("--save"), "{error}");
    }
}
