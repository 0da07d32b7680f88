//! `alexnet track`: runs in the files of experiment trackers.

mod mlflow;
mod tensorboard;

use crate::cli::TrackArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::run_file;
use serde_json::Value;
use std::path::{Path, PathBuf};
use train::folder::{Record, Status};

/// Runs the command.
///
/// # Errors
/// Exit codes 2 if a folder is no run's, 4 if it cannot be read, 7 if files cannot be written.
pub fn track(args: &TrackArgs) -> Result<u8> {
    for folder in &args.runs {
        let run = TrackedRun::read(folder)?;
        if let Some(store) = &args.mlflow {
            let written = mlflow::write(store, &args.experiment, &run)?;
            console::println(format_args!("written: {}", written.display()))?;
        }
        if args.tensorboard {
            let written = tensorboard::write(&run)?;
            console::println(format_args!("written: {}", written.display()))?;
        }
    }
    Ok(0)
}

/// What trackers show of a run.
struct TrackedRun {
    folder: PathBuf,
    name: String,
    status: Status,
    /// When it began, in seconds since 1970.
    began: f64,
    /// Settings with dotted names: `recipe.rate`, `0.01`.
    settings: Vec<(String, String)>,
    /// The records of its log.
    records: Vec<Record>,
}

/// A logged value.
struct Scalar {
    name: String,
    step: u64,
    /// Seconds since training began; estimated between validations.
    seconds: f64,
    value: f64,
}

impl TrackedRun {
    fn read(folder: &Path) -> Result<TrackedRun> {
        let path = folder.join("run.json");
        let text = run_file::read(&path)?.ok_or_else(|| {
            let folder = folder.display();
            Fault::usage(format!(
                "{folder}: there is no run here (no run.json): name the folder of a run"
            ))
        })?;
        let status: Status =
            serde_json::from_str(&text).map_err(|error| run_file::unreadable(&path, error))?;
        let config = run_file::read(&folder.join("config.toml"))?.unwrap_or_default();
        let table: toml::Table = config
            .parse()
            .map_err(|error| run_file::unreadable(&folder.join("config.toml"), error))?;
        let mut settings = Vec::new();
        flatten("", &toml::Value::Table(table), &mut settings);
        settings.extend(environment(folder)?);
        let log = run_file::read(&folder.join("metrics.jsonl"))?.unwrap_or_default();
        let records = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        let name = whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        let began = seconds_of(&status.started).unwrap_or_default();
        Ok(TrackedRun { folder: folder.to_path_buf(), name, status, began, settings, records })
    }

    /// All logged values, in their order; infinite values and NaN are left out.
    fn scalars(&self) -> Vec<Scalar> {
        let batch = self.settings.iter().find(|(name, _)| name == "recipe.batch");
        let batch: f64 = batch.and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
        let (mut clock, mut last) = (0.0, 0);
        let mut scalars = Vec::new();
        for record in &self.records {
            let mut add = |seconds: f64, step: u64, name: &str, value: f64| {
                if value.is_finite() {
                    scalars.push(Scalar { name: name.to_string(), step, seconds, value });
                }
            };
            match record {
                &Record::Train { step, epoch, loss, top1_error, rate, images_per_s, data_wait } => {
                    let images = step.saturating_sub(last) as f64 * batch;
                    clock += if images_per_s > 0.0 { images / images_per_s } else { 0.0 };
                    last = step;
                    add(clock, step, "train/loss", loss);
                    add(clock, step, "train/top1_error", top1_error);
                    add(clock, step, "train/rate", rate);
                    add(clock, step, "train/epoch", f64::from(epoch));
                    add(clock, step, "speed/images_per_s", images_per_s);
                    add(clock, step, "speed/data_wait", data_wait);
                }
                &Record::Validation { step, ref score, seconds, .. } => {
                    clock = seconds;
                    add(clock, step, "validation/loss", score.loss);
                    add(clock, step, "validation/top1_error", score.top1_error);
                    if let Some(error) = score.top5_error {
                        add(clock, step, "validation/top5_error", error);
                    }
                }
                Record::Layers { step, layers, .. } => {
                    for layer in layers {
                        let name = &layer.name;
                        add(clock, *step, &format!("weight_norm/{name}"), layer.weight_norm);
                        add(clock, *step, &format!("gradient_norm/{name}"), layer.gradient_norm);
                        add(clock, *step, &format!("update_ratio/{name}"), layer.update_ratio);
                        if let Some(dead) = layer.dead_relus {
                            add(clock, *step, &format!("dead_relus/{name}"), dead);
                        }
                    }
                }
                _ => {}
            }
        }
        scalars
    }

    /// Seconds of training.
    fn seconds(&self) -> f64 {
        self.scalars().last().map_or(0.0, |scalar| scalar.seconds)
    }
}

/// Device, precision and data of `env.json`.
fn environment(folder: &Path) -> Result<Vec<(String, String)>> {
    let text = run_file::read(&folder.join("env.json"))?.unwrap_or_default();
    let env: Value = serde_json::from_str(&text).unwrap_or_default();
    let known = [
        ("env.device", &env["device"]),
        ("env.cpu", &env["cpu"]),
        ("env.threads", &env["threads"]),
        ("env.commit", &env["commit"]),
        ("env.version", &env["version"]),
        ("env.train_images", &env["data"]["train"]),
        ("env.test_images", &env["data"]["test"]),
    ];
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    };
    Ok(known.into_iter().filter_map(|(name, value)| Some((name.into(), text(value)?))).collect())
}

/// A table's values with dotted names.
fn flatten(prefix: &str, value: &toml::Value, into: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let name =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, into);
            }
        }
        toml::Value::String(text) => into.push((prefix.to_string(), text.clone())),
        value => into.push((prefix.to_string(), value.to_string())),
    }
}

/// The seconds since 1970 of a time such as `2026-11-24T08-30-05Z`.
fn seconds_of(stamp: &str) -> Option<f64> {
    let numbers: Vec<i64> = stamp
        .trim_end_matches('Z')
        .split(['-', 'T'])
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let &[year, month, day, hour, minute, second] = &numbers[..] else { return None };
    // Years are counted from March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(seconds_of("1970-01-01T00-00-00Z"), Some(0.0));
        assert_eq!(seconds_of("2026-11-24T08-30-05Z"), Some(1_795_509_005.0));
        assert_eq!(seconds_of("2024-02-29T23-59-59Z"), Some(1_709_251_199.0));
        assert_eq!(seconds_of("yesterday"), None);
    }

    #[test]
    fn settings_have_dotted_names() {
        let table: toml::Table =
            "model = \"a\"\n[recipe]\nrate = 0.5\n[recipe.schedule]\nafter = [1, 2]"
                .parse()
                .unwrap();
        let mut settings = Vec::new();
        flatten("", &toml::Value::Table(table), &mut settings);
        let expected =
            [("model", "a"), ("recipe.rate", "0.5"), ("recipe.schedule.after", "[1, 2]")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_string(), value.to_string())));
    }
}
