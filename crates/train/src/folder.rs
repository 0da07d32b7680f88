//! A run's folder: what was asked for, where it ran, what it measured, what it learned.

use crate::{Error, Result, atomic, clock, metrics::Score};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder of one run.
///
/// | file | what it holds |
/// |---|---|
/// | `config.toml` | every setting, with defaults filled in; `--config` reads it back |
/// | `model.toml` | the network's rows |
/// | `env.json` | program, machine, data |
/// | `run.json` | how the run stands: [`Status`] |
/// | `metrics.jsonl` | a [`Record`] a line, written as it happens |
/// | `weights.safetensors` | what was learned |
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// Training steps since the last such line.
    Train {
        /// The last of them, counted from one.
        step: u64,
        /// Its epoch, counted from one.
        epoch: u32,
        /// Mean loss.
        loss: f64,
        /// Share of images not recognised, as the network was when it saw them.
        top1_error: f64,
        /// The recipe's learning rate times the schedule's factor.
        rate: f64,
        /// Training images a second.
        images_per_s: f64,
        /// Share of the time spent waiting for images.
        data_wait: f64,
    },
    /// A pass over the validation set.
    Validation {
        /// Steps done.
        step: u64,
        /// Epochs done.
        epoch: u32,
        /// Its means.
        #[serde(flatten)]
        score: Score,
        /// Seconds since training began.
        seconds: f64,
    },
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Steps are being made, or the program died without a word.
    Running,
    /// All that was asked for is done.
    Finished,
    /// A signal ended it after the step in hand.
    Interrupted,
    /// An error ended it.
    Failed,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How it stands.
    pub status: State,
    /// When it began, UTC.
    pub started: String,
    /// The process.
    pub pid: u32,
    /// Steps done.
    pub step: u64,
    /// Epochs begun.
    pub epoch: u32,
    /// The last validation.
    pub validation: Option<Score>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Status {
    /// A run that begins now.
    pub fn begun() -> Status {
        Status {
            status: State::Running,
            started: clock::stamp(SystemTime::now()),
            pid: std::process::id(),
            step: 0,
            epoch: 0,
            validation: None,
            error: None,
        }
    }
}

impl RunFolder {
    /// A new folder under `runs`, named by time and model:
    /// `runs/2026-11-24T08-30-05Z-alexnet-64-3fa9`.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create_under(runs: &Path, model: &str) -> Result<RunFolder> {
        let now = SystemTime::now();
        let nanoseconds =
            now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let short = (nanoseconds ^ std::process::id().wrapping_mul(0x9E37_79B1)) & 0xFFFF;
        let model: String =
            model.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = format!("{}-{model}-{short:04x}", clock::stamp(now));
        Self::create(&runs.join(name))
    }

    /// The folder that the user named: made if need be, and refused if it holds anything.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::Write`].
    pub fn create(path: &Path) -> Result<RunFolder> {
        Self::check(path)?;
        fs::create_dir_all(path).map_err(|source| Error::Write { path: path.into(), source })?;
        let metrics = path.join("metrics.jsonl");
        let opened = OpenOptions::new().append(true).create_new(true).open(&metrics);
        let metrics = opened.map_err(|source| Error::Write { path: metrics, source })?;
        Ok(RunFolder { path: path.into(), metrics })
    }

    /// Whether [`create`](Self::create) would refuse the folder, before anything slow is done.
    ///
    /// # Errors
    /// [`Error::RunFolder`] if it is not empty or no folder.
    pub fn check(path: &Path) -> Result<()> {
        let refused =
            |reason: &str| Err(Error::RunFolder { path: path.into(), reason: reason.to_string() });
        match fs::read_dir(path).map(|entries| entries.count()) {
            Ok(1..) => refused(
                "the folder is not empty, and a run overwrites nothing: name another with --run, \
                 or remove this one",
            ),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                refused("this is a file; --run names a folder")
            }
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one of its files, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        atomic::write(&self.path.join(name), contents)
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn status(&self, status: &Status) -> Result<()> {
        let text = serde_json::to_string_pretty(status).expect("a status is plain data");
        self.write("run.json", (text + "\n").as_bytes())
    }

    /// Appends a line to `metrics.jsonl`: one write, so that a line is there or is not.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn record(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record).expect("a record is plain data") + "\n";
        let failed = |source| Error::Write { path: self.path.join("metrics.jsonl"), source };
        self.metrics.write_all(line.as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("alexnet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_folder_in_use_is_refused_with_a_remedy() {
        let path = temporary("folder");
        drop(RunFolder::create(&path).unwrap());
        let error = RunFolder::create(&path).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("--run"), "{error}");
        let error = RunFolder::create(&path.join("metrics.jsonl")).unwrap_err().to_string();
        assert!(error.contains("names a folder"), "{error}");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn names_itself_by_time_and_model() {
        let runs = temporary("runs");
        let folder = RunFolder::create_under(&runs, "my/net.toml").unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().to_string();
        assert!(name.contains("Z-my-net-toml-"), "{name}");
        fs::remove_dir_all(&runs).unwrap();
    }

    #[test]
    fn records_are_lines() {
        let path = temporary("records");
        let mut folder = RunFolder::create(&path).unwrap();
        let score = Score { loss: 0.5, top1_error: 0.25, top5_error: 0.0, images: 8 };
        let record = Record::Validation { step: 3, epoch: 1, score, seconds: 2.0 };
        folder.record(&record).unwrap();
        folder.record(&record).unwrap();
        let text = fs::read_to_string(path.join("metrics.jsonl")).unwrap();
        let lines: Vec<Record> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [record, record]);
        assert!(
            text.starts_with(r#"{"kind":"validation","step":3,"epoch":1,"loss":0.5"#),
            "{text}"
        );
        fs::remove_dir_all(&path).unwrap();
    }
}
