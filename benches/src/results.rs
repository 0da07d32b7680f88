//! What a run has measured, to be kept and compared with.

use crate::machine::{Machine, today};
use crate::median;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// A run's numbers: what `--save` writes and `--baseline` reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Of this file's layout.
    pub format: u32,
    /// Where.
    pub machine: Machine,
    /// When: a day, UTC.
    pub date: String,
    /// What was typed.
    pub command: String,
    /// The numbers.
    pub rows: Vec<Measure>,
}

/// What a group of rows was measured on. Numbers of two groups have nothing to do with each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Work {
    /// A built-in model.
    pub model: String,
    /// `train`, `infer` or `epoch`.
    pub mode: String,
    /// Images a step.
    pub batch: usize,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, batch {}", self.model, self.mode, self.batch)
    }
}

/// One number, as often as it was taken. Less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Of what.
    #[serde(flatten)]
    pub work: Work,
    /// `step`, or a part of it: `conv1 forward`.
    pub what: String,
    /// `ms` or `MiB`.
    pub unit: String,
    /// The middle of `values`.
    pub median: f64,
    /// Every time it was taken, in order.
    pub values: Vec<f64>,
    /// PyTorch's, taken in turn with ours; empty if it did not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peer: Vec<f64>,
}

impl Measure {
    /// Milliseconds of `what`.
    ///
    /// # Panics
    /// If there are no values.
    pub fn ms(work: &Work, what: impl Into<String>, values: Vec<f64>, peer: Vec<f64>) -> Measure {
        let (work, median) = (work.clone(), median(values.clone()));
        Measure { work, what: what.into(), unit: "ms".into(), median, values, peer }
    }
}

impl Results {
    /// The layout that this program writes and reads.
    pub const FORMAT: u32 = 1;

    /// What was measured here and now.
    pub fn here(machine: Machine, command: &str, rows: Vec<Measure>) -> Results {
        let command = command.to_string();
        Results { format: Self::FORMAT, machine, date: today(), command, rows }
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// A sentence with the path, if it cannot be read or is something else.
    pub fn load(path: &Path) -> Result<Results, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            format!("{shown}: {error}; make a baseline with `cargo xtask bench --save {shown}`")
        })?;
        let results: Results = serde_json::from_str(&text)
            .map_err(|error| format!("{shown} is no saved run of this program: {error}"))?;
        if results.format != Self::FORMAT {
            let (theirs, ours) = (results.format, Self::FORMAT);
            return Err(format!(
                "{shown} has layout {theirs}, and this program reads {ours}: save it again"
            ));
        }
        let sound = |row: &&Measure| {
            let positive = |values: &[f64]| values.iter().all(|v| v.is_finite() && *v > 0.0);
            !row.values.is_empty() && positive(&row.values) && positive(&row.peer)
        };
        match results.rows.iter().find(|row| !sound(row)) {
            Some(row) => Err(format!(
                "{shown}: `{}, {}` has no usable values: save it again",
                row.work, row.what
            )),
            None => Ok(results),
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// A sentence with the path.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        replace(path, &text)
    }

    /// What was measured, each once, in order.
    pub fn works(&self) -> Vec<Work> {
        let mut works: Vec<Work> = Vec::new();
        for row in &self.rows {
            if !works.contains(&row.work) {
                works.push(row.work.clone());
            }
        }
        works
    }
}

/// Writes a file beside the old one, then puts it in its place.
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
    fn a_run_is_read_as_it_was_saved_and_nothing_else_is() {
        let work = Work { model: "alexnet".into(), mode: "train".into(), batch: 128 };
        let rows = vec![
            Measure::ms(&work, "step", vec![3.0, 1.0, 2.0], vec![4.0, 5.0, 6.0]),
            Measure::ms(&work, "conv1 forward", vec![0.5], Vec::new()),
        ];
        let run = Results::here(Machine::here(1), "cargo xtask bench", rows);
        assert_eq!((run.rows[0].median, run.works()), (2.0, vec![work]));
        let folder = std::env::temp_dir().join(format!("alexnet-results-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run.json");
        run.save(&path).unwrap();
        assert_eq!(Results::load(&path), Ok(run.clone()));

        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            Results::load(&path).unwrap_err()
        };
        let said = refused("{}");
        assert!(said.contains("run.json") && said.contains("no saved run"), "{said}");
        let later = Results { format: 2, ..run.clone() };
        let said = refused(&serde_json::to_string(&later).unwrap());
        assert!(said.contains("layout 2") && said.contains("save it again"), "{said}");
        let mut empty = run;
        empty.rows[1].values.clear();
        let said = refused(&serde_json::to_string(&empty).unwrap());
        assert!(said.contains("conv1 forward") && said.contains("no usable"), "{said}");
        fs::remove_dir_all(&folder).unwrap();
        let said = Results::load(&path).unwrap_err();
        assert!(said.contains("--save"), "{said}");
    }
}
