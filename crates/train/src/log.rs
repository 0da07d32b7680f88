//! The logs of a run: three files with the same records.
//!
//! `metrics.jsonl` is the record, a [`Record`] a line. `metrics.csv` has its numbers for
//! spreadsheets, `events.out.tfevents` for TensorBoard. Each line is one write, so lines are
//! complete or missing. A resumed run truncates all three to their lengths at its checkpoint.

mod csv;
pub mod events;

use crate::{Error, Result};
use evaluate::Score;
use files::atomic;
use files::disk::{Disk, RealDisk, Sink, open_regular};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// Training steps since the last such line.
    Train {
        /// The last of these steps, counted from one.
        step: u64,
        /// Its epoch, counted from one.
        epoch: u32,
        /// Mean loss.
        loss: f64,
        /// Share of misclassified images, each with the weights of its own step.
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
        /// The mean loss and errors.
        #[serde(flatten)]
        score: Score,
        /// Seconds since training began.
        seconds: f64,
    },
    /// Statistics of each layer, at the first step and then at regular intervals.
    Layers {
        /// The step, counted from one.
        step: u64,
        /// Its epoch, counted from one.
        epoch: u32,
        /// The layers, in the network's order.
        layers: Vec<LayerNumbers>,
    },
    /// Something is probably wrong.
    Warning {
        /// The step, counted from one.
        step: u64,
        /// The problem and its remedy.
        text: String,
    },
}

/// Statistics of a layer in one step. Norms are Euclidean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerNumbers {
    /// The layer's name, such as `conv1`.
    pub name: String,
    /// The norm of its weights after the step.
    pub weight_norm: f64,
    /// The norm of the gradient of its weights.
    pub gradient_norm: f64,
    /// The norm of what was added to the weights over that of the weights. About 0.001 is usual;
    /// above 0.01 a layer is being overwritten, below 0.00001 it stands still.
    pub update_ratio: f64,
    /// The share of the layer's rectified units (of a convolution: of its filters) that were zero
    /// for every image of the batch. Absent where no ReLU follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_relus: Option<f64>,
}

/// The three files.
#[derive(Debug)]
pub(crate) struct Log {
    jsonl: Lines,
    csv: Lines,
    events: Lines,
}

/// A file to which lines are appended.
#[derive(Debug)]
struct Lines {
    name: &'static str,
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    pub(crate) const NAMES: [&str; 3] = ["metrics.jsonl", "metrics.csv", "events.out.tfevents"];

    /// Opens or creates the files of a run's folder and truncates each to its length in `lengths`,
    /// 0 if it is not listed.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(folder: &Path, lengths: &BTreeMap<String, u64>) -> Result<Log> {
        let open = |name| Lines::open(folder, name, lengths.get(name).copied().unwrap_or(0));
        let [jsonl, csv, events] = Log::NAMES;
        let (jsonl, csv, events) = (open(jsonl)?, open(csv)?, open(events)?);
        let failed = |source| files::Error::Write { path: folder.into(), source };
        RealDisk.sync_folder(folder).map_err(failed)?; // their names are durable before their lines
        let mut log = Log { jsonl, csv, events };
        if log.csv.bytes == 0 {
            log.csv.append(csv::HEADER.as_bytes())?;
        }
        if log.events.bytes == 0 {
            log.events.append(&events::beginning(now()))?;
        }
        Ok(log)
    }

    /// Appends a line to each file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record).expect("a record is plain data") + "\n";
        self.jsonl.append(line.as_bytes())?;
        if let Some(line) = csv::line(record) {
            self.csv.append(line.as_bytes())?;
        }
        if let Some(event) = events::event(now(), record) {
            self.events.append(&event)?;
        }
        Ok(())
    }

    /// The length of each file in bytes.
    pub(crate) fn lengths(&self) -> BTreeMap<String, u64> {
        let files = [&self.jsonl, &self.csv, &self.events];
        files.map(|lines| (lines.name.to_string(), lines.bytes)).into()
    }

    /// Handles of the files, with which another thread syncs them to disk.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn handles(&self) -> Result<Vec<Box<dyn Sink>>> {
        let files = [&self.jsonl, &self.csv, &self.events].into_iter();
        let clone = |lines: &Lines| {
            let file = lines.file.try_clone().map_err(|error| lines.failed(error))?;
            Ok(Box::new(file) as Box<dyn Sink>)
        };
        files.map(clone).collect()
    }
}

impl Lines {
    fn open(folder: &Path, name: &'static str, most: u64) -> Result<Lines> {
        let path = folder.join(name);
        let failed = |source| files::Error::Write { path: folder.join(name), source };
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true);
        let file = open_regular(options, &path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > most {
            file.set_len(most).map_err(failed)?;
        }
        Ok(Lines { name, path, file, bytes: bytes.min(most) })
    }

    fn append(&mut self, line: &[u8]) -> Result<()> {
        let written = self.file.write_all(line);
        written.map_err(|error| atomic::failed(&RealDisk, &self.path, line.len() as u64, error))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        files::Error::Write { path: self.path.clone(), source }.into()
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    pub(super) fn records() -> Vec<Record> {
        let score = Score { loss: 0.5, top1_error: 0.25, top5_error: Some(0.0), images: 8 };
        let layer = LayerNumbers { name: "conv1".into(), weight_norm: 2.0, ..Default::default() };
        vec![
            Record::Train {
                step: 3,
                epoch: 1,
                loss: 1.5,
                top1_error: 0.75,
                rate: 0.01,
                images_per_s: 100.0,
                data_wait: 0.125,
            },
            Record::Layers { step: 3, epoch: 1, layers: vec![layer] },
            Record::Warning { step: 3, text: "\"stuck\"\n, perhaps".to_string() },
            Record::Validation { step: 3, epoch: 1, score, seconds: 2.0 },
        ]
    }

    #[test]
    fn what_is_written_twice_is_there_once() {
        let folder = std::env::temp_dir().join(format!("alexnet-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut log = Log::open(&folder, &BTreeMap::new()).unwrap();
        let records = records();
        log.record(&records[0]).unwrap();
        let lengths = log.lengths();
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        records[1..].iter().for_each(|record| log.record(record).unwrap());
        let whole = Log::NAMES.map(read);
        drop(log);

        let mut log = Log::open(&folder, &lengths).unwrap(); // goes on after the first line
        assert_eq!(log.lengths(), lengths);
        records[1..].iter().for_each(|record| log.record(record).unwrap());
        let again = Log::NAMES.map(read);
        assert_eq!((&again[0], &again[1]), (&whole[0], &whole[1]));
        assert_eq!(again[2].len(), whole[2].len(), "only its times differ");
        let text = String::from_utf8(again[0].clone()).unwrap();
        let lines: Vec<Record> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, records);
        assert!(text.contains(r#"{"kind":"validation","step":3,"epoch":1,"loss":0.5"#), "{text}");

        drop(Log::open(&folder, &BTreeMap::new()).unwrap()); // from the beginning
        assert_eq!(read("metrics.csv"), csv::HEADER.as_bytes());
        fs::remove_dir_all(&folder).unwrap();
    }
}
