//! The measurements of a run, stored in its folder as `measured.json`.

use crate::error::{Error, Result};
use crate::protocol::{Arm, Data, Measure, Protocol, View};
use crate::run_file;
use evaluate::Score;
use layers::Spec;
use report::Curves;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

const FILE: &str = "measured.json";

/// The measurements of an arm's run with one seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The arm's name.
    pub arm: String,
    /// The arm's label.
    pub label: String,
    /// The seed of all random draws.
    pub seed: u64,
    /// Results on the test images at the end.
    pub tested: Vec<TestResult>,
    /// The epochs of all stages.
    pub epochs: Vec<Epoch>,
    /// Epochs until the training error fell to the protocol's share.
    pub reached: Option<f64>,
    /// Steps until the loss was below chance level.
    pub left_chance: Option<f64>,
    /// The reason if training diverged.
    pub diverged: Option<String>,
    /// Number of trainable values.
    pub parameters: u64,
    /// Steps of all stages.
    pub steps: f64,
    /// Seconds of all stages, including validations.
    pub seconds: f64,
    /// A description of the images.
    pub data: String,
    /// A description of the machine.
    pub machine: String,
    /// The precision of products; `None`: f32 on a CPU.
    #[serde(default)]
    pub precision: Option<String>,
    /// The program's version.
    pub version: String,
    /// What the protocol's inspection found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// A row of a table: of a layer, or of a number of masks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The layer, or the number of masks.
    pub name: String,
    /// A value for each of the inspection's [columns](crate::Inspection::columns).
    pub values: Vec<f64>,
}

/// A test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// `centre`, `nine views`, `ten views`.
    pub views: String,
    /// Share of images.
    pub top1_error: f64,
    /// Share of images; `None` if there are at most five classes.
    #[serde(default)]
    pub top5_error: Option<f64>,
    /// Mean of -log p.
    pub loss: f64,
}

/// An epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from one, through all stages.
    pub epoch: f64,
    /// Top-1 error on training images, measured during training.
    pub train_error: f64,
    /// Mean loss on training images, measured during training.
    pub train_loss: f64,
    /// Top-1 error on the validation images.
    pub error: f64,
}

impl TestResult {
    /// The result of a test.
    pub(crate) fn of(view: View, score: Score) -> TestResult {
        let Score { loss, top1_error, top5_error, .. } = score;
        TestResult { views: view_name(view).to_string(), top1_error, top5_error, loss }
    }
}

/// The name of a view.
pub fn view_name(view: View) -> &'static str {
    match view {
        View::Centre => "centre",
        View::Nine => "nine views",
        View::Ten => "ten views",
    }
}

impl Measured {
    /// Reads a run's measurements, if there are any.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the file cannot be read.
    pub fn read(run: &Path) -> Result<Option<Measured>> {
        let text = run_file::read(&Measured::path(run))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The file in a run's folder.
    pub(crate) fn path(run: &Path) -> PathBuf {
        run.join(FILE)
    }

    /// The contents of the file.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// Reads the measurements from the logs of an arm's stages.
    ///
    /// # Errors
    /// [`Error::Log`] if a log is missing, [`Error::Network`] if a run's model cannot be read.
    pub(crate) fn of(arm: &Arm, seed: u64, runs: &[PathBuf], page: &Protocol) -> Result<Measured> {
        let mut measured = Measured {
            arm: arm.name.clone(),
            label: arm.label.clone(),
            seed,
            version: env!("CARGO_PKG_VERSION").to_string(),
            ..Measured::default()
        };
        let mut larger = String::new();
        for (run, stage) in runs.iter().zip(&arm.stages) {
            let read = |name: &str| {
                let path = run.join(name);
                let text = files::read_to_string(&path);
                text.map_err(|source| Error::Log { path: path.clone(), source })
            };
            let curves = Curves::parse(&read("metrics.jsonl")?);
            // The run's network has the data's number of classes; the protocol's may differ.
            let spec = Spec::from_toml(&read("model.toml")?)?;
            if stage.run_of.is_none() {
                measured.add(&curves, page.measure, spec.classes()?);
            }
            measured.parameters = spec.parameters()? as u64;
            let env: Value = serde_json::from_str(&read("env.json")?).unwrap_or_default();
            measured.precision = precision(&env);
            measured.machine = machine(&env, measured.precision.as_deref());
            measured.data = larger.clone() + &data(&env);
            if stage.data == Data::Larger {
                larger = format!("{}; then ", measured.data);
            }
        }
        Ok(measured)
    }

    /// Appends a stage's curves.
    fn add(&mut self, curves: &Curves, measure: Measure, classes: usize) {
        let before = self.epochs.len() as f64;
        let first = curves.validation.first();
        let per_epoch = first.map_or(f64::INFINITY, |first| first.step / first.epoch.max(1.0));
        let mut from = 0.0;
        for validated in &curves.validation {
            let [train_loss, train_error] = means(curves, from, validated.step);
            from = validated.step;
            let (epoch, error) = (before + validated.epoch, validated.top1_error);
            self.epochs.push(Epoch { epoch, train_error, train_loss, error });
        }
        let train = || curves.train.iter().map(|line| line.step);
        if let Measure::EpochsTo(error) = measure {
            let window = per_epoch / 4.0;
            let low = |&to: &f64| to >= window && means(curves, to - window, to)[1] <= error;
            let step = train().find(low);
            self.reached = self.reached.or(step.map(|step| before + step / per_epoch));
        }
        let guess = (classes as f64).ln();
        let low = |&to: &f64| to >= 20.0 && means(curves, to - 20.0, to)[0] <= 0.9 * guess;
        self.left_chance = self.left_chance.or(train().find(low).map(|step| self.steps + step));
        self.steps += curves.train.last().map_or(0.0, |line| line.step);
        self.seconds += curves.validation.last().map_or(0.0, |last| last.seconds);
    }

    /// The test with the protocol's main view.
    pub fn last_test(&self) -> Option<&TestResult> {
        self.tested.last()
    }
}

/// Mean loss and training error of the steps after `from` up to `to`. A line of the log stands for
/// the steps since the previous line.
fn means(curves: &Curves, from: f64, to: f64) -> [f64; 2] {
    let (mut sums, mut steps, mut before) = ([0.0, 0.0], 0.0, 0.0);
    let mut last = [0.0, 0.0];
    for line in &curves.train {
        let weight = line.step - f64::max(before, from);
        if line.step > from && line.step <= to && weight > 0.0 {
            sums = [sums[0] + weight * line.loss, sums[1] + weight * line.top1_error];
            steps += weight;
        }
        if line.step <= to {
            last = [line.loss, line.top1_error];
        }
        before = line.step;
    }
    // Without a line in this range the previous line is used.
    if steps > 0.0 { sums.map(|sum| sum / steps) } else { last }
}

/// The GPU, if the run used one.
fn gpu(env: &Value) -> Option<&str> {
    env["device"].as_str().filter(|name| *name != "cpu")
}

fn precision(env: &Value) -> Option<String> {
    let own = |name: &&str| gpu(env).is_some() || *name != "f32";
    env["precision"].as_str().filter(own).map(String::from)
}

fn machine(env: &Value, precision: Option<&str>) -> String {
    let cpu = env["cpu"].as_str().unwrap_or("an unknown processor");
    let text = format!("{cpu}, {} cores, {} threads", env["cores"], env["threads"]);
    let numbers = precision.map_or(String::new(), |name| format!(", {name}"));
    match gpu(env) {
        None => format!("{text}{numbers}"),
        Some(gpu) => format!("{gpu}{numbers}; {text}"),
    }
}

fn data(env: &Value) -> String {
    let data = &env["data"];
    let classes = data["classes"].as_array().map_or(0, Vec::len);
    let (size, count) = (&data["size"], |key: &str| data[key].as_u64().unwrap_or(0));
    format!(
        "{} training and {} test images of {} x {} pixels, {classes} classes",
        report::grouped(count("train") as usize),
        report::grouped(count("test") as usize),
        size[0],
        size[1]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use report::{TrainPoint, ValidationPoint};

    /// Ten steps an epoch; the error falls by a tenth an epoch from 0.9.
    fn curves(epochs: u32) -> Curves {
        let steps = 1..=10 * epochs;
        let error = |step: u32| 0.9 - 0.1 * f64::from((step - 1) / 10);
        let line = |step| TrainPoint {
            step: f64::from(step),
            loss: 2.0 * error(step),
            top1_error: error(step),
            ..TrainPoint::default()
        };
        let validated = |epoch: u32| ValidationPoint {
            step: f64::from(10 * epoch),
            epoch: f64::from(epoch),
            seconds: f64::from(epoch),
            top1_error: 0.5,
            ..ValidationPoint::default()
        };
        Curves {
            train: steps.map(line).collect(),
            validation: (1..=epochs).map(validated).collect(),
        }
    }

    #[test]
    fn a_machine_is_described_with_its_precision() {
        let described = |device: &str, numbers: &str| {
            let env = serde_json::json!({
                "cpu": "a processor", "cores": 2, "threads": 1, "device": device,
                "precision": numbers,
            });
            let precision = precision(&env);
            (machine(&env, precision.as_deref()), precision)
        };
        assert_eq!(described("cpu", "f32"), ("a processor, 2 cores, 1 threads".into(), None));
        let (machine, precision) = described("cpu", "bf16");
        assert_eq!(machine, "a processor, 2 cores, 1 threads, bf16");
        assert_eq!(precision.as_deref(), Some("bf16"));
        let (machine, precision) = described("a GPU", "f32");
        assert_eq!(machine, "a GPU, f32; a processor, 2 cores, 1 threads");
        assert_eq!(precision.as_deref(), Some("f32"), "a GPU's own choice is another");
    }

    #[test]
    fn epochs_are_counted_across_stages() {
        let mut measured = Measured::default();
        measured.add(&curves(3), Measure::TestError, 10);
        measured.add(&curves(2), Measure::TestError, 10);
        let rows: Vec<f64> = measured.epochs.iter().map(|row| row.epoch).collect();
        assert_eq!(rows, [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((measured.epochs[1].train_error - 0.8).abs() < 1e-9);
        assert!((measured.epochs[2].train_loss - 1.4).abs() < 1e-9);
        assert_eq!((measured.steps, measured.seconds, measured.reached), (50.0, 5.0, None));
        // 2 x 0.9 is below nine tenths of ln 10: it was never at chance.
        assert_eq!(measured.left_chance, Some(20.0));
    }

    #[test]
    fn reaching_an_error_is_detected_within_an_epoch() {
        let mut measured = Measured::default();
        measured.add(&curves(9), Measure::EpochsTo(0.25), 10);
        // The eighth epoch has 0.2, and 2.5 of its steps tip a quarter of an epoch: 0.3 at first.
        let reached = measured.reached.unwrap();
        assert!(reached > 7.0 && reached <= 7.3, "{reached}");
        measured.add(&curves(9), Measure::EpochsTo(0.25), 10);
        assert_eq!(measured.reached, Some(reached));
    }

    #[test]
    fn a_log_line_stands_for_the_steps_since_the_previous_one() {
        let line = |step, loss| TrainPoint { step, loss, ..TrainPoint::default() };
        let train = vec![line(1.0, 4.0), line(10.0, 2.0), line(20.0, 1.0)];
        let curves = Curves { train, validation: Vec::new() };
        assert_eq!(means(&curves, 0.0, 10.0)[0], (4.0 + 9.0 * 2.0) / 10.0);
        assert_eq!(means(&curves, 10.0, 20.0)[0], 1.0);
        assert_eq!(means(&curves, 30.0, 40.0)[0], 1.0);
    }
}
