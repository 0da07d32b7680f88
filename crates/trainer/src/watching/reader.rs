//! Reads a run's folder again and again while another process writes it.

use crate::fault::{Fault, Result};
use crate::run_file;
use crate::settings::Settings;
use evaluate::observe::{StepReport, ValidationReport};
use files::disk::open_regular;
use layers::Spec;
use report::{TrainPoint, ValidationPoint};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use terminal::dashboard::View;
use train::early_stopping::Metric;
use train::folder::{Record, RunState, Status};

/// Training lines of this many steps are averaged for display, as the progress bar does.
const RECENT: u64 = 20;

/// A run's folder, and the records of its log that were read.
pub struct Reader {
    folder: PathBuf,
    settings: Option<Settings>,
    /// The network's name.
    model: Option<String>,
    environment: Value,
    /// The bytes of the log that were read: complete lines.
    read: u64,
    records: Vec<Record>,
}

impl Reader {
    /// The reader of a run that has begun, or is about to.
    ///
    /// # Errors
    /// Exit code 2 if there is none, 4 if it cannot be read.
    pub fn open(folder: &Path) -> Result<Reader> {
        let mut has_begun = false;
        for name in ["run.json", "config.toml", "metrics.jsonl"] {
            has_begun |= run_file::exists(&folder.join(name))?;
        }
        if !has_begun {
            return Err(Fault::usage(format!(
                "{}: there is no run here (no run.json, config.toml or metrics.jsonl): name the \
                 folder of a run",
                folder.display()
            )));
        }
        Ok(Reader {
            folder: folder.to_path_buf(),
            settings: None,
            model: None,
            environment: Value::Null,
            read: 0,
            records: Vec::new(),
        })
    }

    /// The run as it is now.
    ///
    /// # Errors
    /// Exit code 4 if a file cannot be read or understood.
    pub fn read(&mut self) -> Result<View> {
        let mut status = self.status()?;
        if status.as_ref().is_some_and(|status| self.was_killed(status)) {
            status = self.status()?; // it may have ended in between
        }
        // A resumed run may have other epochs.
        let config = self.folder.join("config.toml");
        self.settings =
            if run_file::exists(&config)? { Some(Settings::read(&config)?) } else { None };
        if self.model.is_none() {
            let model = run_file::read(&self.folder.join("model.toml"))?;
            let spec = model.and_then(|text| Spec::from_toml(&text).ok());
            self.model = spec.map(|spec| spec.name);
        }
        let environment = run_file::read(&self.folder.join("env.json"))?.unwrap_or_default();
        self.environment = serde_json::from_str(&environment).unwrap_or_default();
        let log = self.folder.join("metrics.jsonl");
        self.read_log(&log).map_err(|error| run_file::unreadable(&log, error))?;
        Ok(self.view(status.as_ref()))
    }

    fn status(&self) -> Result<Option<Status>> {
        let path = self.folder.join("run.json");
        let Some(text) = run_file::read(&path)? else { return Ok(None) };
        let status = serde_json::from_str(&text);
        status.map(Some).map_err(|error| run_file::unreadable(&path, error))
    }

    /// Reads the complete lines that were added to the log; all of them if a resumed run has
    /// truncated it, after which steps are repeated.
    fn read_log(&mut self, path: &Path) -> io::Result<()> {
        let mut file = match open_regular(OpenOptions::new().read(true), path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        if file.metadata()?.len() < self.read {
            (self.read, self.records) = (0, Vec::new());
        }
        loop {
            file.seek(SeekFrom::Start(self.read))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            let text = String::from_utf8_lossy(&bytes[..complete]);
            let before = self.records.last().map_or(0, step_of);
            let added = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let added: Vec<Record> =
                added.filter(|record| !matches!(record, Record::Layers { .. })).collect();
            if self.read > 0 && added.first().is_some_and(|record| step_of(record) < before) {
                (self.read, self.records) = (0, Vec::new());
                continue;
            }
            self.read += complete as u64;
            self.records.extend(added);
            return Ok(());
        }
    }

    fn view(&self, status: Option<&Status>) -> View {
        let state = match status {
            None => "has not begun".to_string(),
            Some(status) if self.was_killed(status) => {
                format!("killed: no process {}; resume it with train --resume", status.pid)
            }
            Some(Status { status: RunState::Failed, error: Some(error), .. }) => {
                format!("failed: {error}")
            }
            Some(status) => name_of(status.status).to_string(),
        };
        let has_ended = status
            .is_some_and(|status| status.status != RunState::Running || self.was_killed(status));
        let mut view = View {
            name: self.folder.display().to_string(),
            setup: self.setup(),
            state,
            has_ended,
            has_failed: status.is_some_and(|status| status.status == RunState::Failed),
            ..View::default()
        };
        self.measure(&mut view);
        view
    }

    /// `alexnet-64, cpu, 2 threads, bf16`.
    fn setup(&self) -> String {
        let text = |name: &str| self.environment[name].as_str().map(str::to_string);
        let threads = self.environment["threads"].as_u64().filter(|threads| *threads > 0);
        let threads = threads.map(|threads| match threads {
            1 => "1 thread".to_string(),
            threads => format!("{threads} threads"),
        });
        let precision = text("precision").filter(|precision| precision != "f32");
        let parts = [self.model.clone(), text("device"), threads, precision];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether the run did not end and its process does not exist. On other machines, and on systems
    /// without `/proc`, that is unknown.
    fn was_killed(&self, status: &Status) -> bool {
        let pid = status.pid;
        let host = files::read_to_string(Path::new("/proc/sys/kernel/hostname"));
        let owner = files::read_to_string(self.folder.join("lock")).unwrap_or_default();
        let is_here = host.is_ok_and(|host| owner == format!("process {pid} {}", host.trim()));
        let exists = Path::new("/proc").join(pid.to_string()).exists();
        status.status == RunState::Running && is_here && !exists
    }

    /// Steps of the whole run; 0 if they are not known.
    fn steps(&self) -> u64 {
        let Some(settings) = &self.settings else { return 0 };
        let images = self.environment["data"]["train"].as_u64().unwrap_or(0);
        let in_epoch = images.div_ceil(settings.recipe.batch.max(1) as u64);
        let all = in_epoch * u64::from(settings.recipe.epochs);
        settings.max_steps.map_or(all, |most| most.min(all))
    }

    /// Fills in the measurements.
    fn measure(&self, view: &mut View) {
        let epochs = self.settings.as_ref().map_or(0, |settings| settings.recipe.epochs);
        let steps = self.steps();
        let (mut recent, mut since) = (Vec::new(), Sums::default());
        let (mut last_step, mut now) = (0, None);
        for record in &self.records {
            match record {
                &Record::Train { step, epoch, loss, top1_error, rate, images_per_s, data_wait } => {
                    let (step_f, weight) = (step as f64, step.saturating_sub(last_step) as f64);
                    let images = weight * self.batch();
                    since.add(weight, loss, top1_error, images / images_per_s.max(1e-9));
                    let curves = &mut view.curves;
                    let point = TrainPoint { step: step_f, loss, top1_error, rate, images_per_s };
                    curves.train.push(point);
                    recent.retain(|(earlier, _): &(StepReport, f64)| earlier.step + RECENT > step);
                    let steps = steps.max(step);
                    let report = StepReport {
                        step,
                        steps,
                        epoch,
                        epochs: epochs.max(epoch),
                        loss,
                        top1_error,
                        rate,
                        images_per_s,
                        data_wait,
                        eta_s: 0.0,
                    };
                    recent.push((report, weight));
                    now = Some(mean(&recent));
                    last_step = step;
                }
                &Record::Validation { step, epoch, score, seconds } => {
                    view.curves.validation.push(ValidationPoint {
                        step: step as f64,
                        epoch: f64::from(epoch),
                        loss: score.loss,
                        top1_error: score.top1_error,
                        top5_error: score.top5_error,
                        seconds,
                    });
                    let (train_loss, train_top1_error) = since.means();
                    let report = ValidationReport {
                        step,
                        epoch,
                        epochs: epochs.max(epoch),
                        score,
                        train_loss,
                        train_top1_error,
                        is_best: false,
                        seconds,
                    };
                    view.validations.push((report, now));
                    since = Sums::default();
                }
                Record::Warning { text, .. } => view.warning = Some(text.clone()),
                _ => {}
            }
        }
        self.mark_best(view);
        let validated = view.validations.last().map_or(0.0, |(last, _)| last.seconds);
        view.seconds = validated + since.seconds;
        view.step = now.map(|now| StepReport { eta_s: self.seconds_left(view, &now), ..now });
    }

    fn batch(&self) -> f64 {
        self.settings.as_ref().map_or(0.0, |settings| settings.recipe.batch as f64)
    }

    /// Seconds to the end, from the time of all steps so far with their validations.
    fn seconds_left(&self, view: &View, now: &StepReport) -> f64 {
        let left = now.steps.saturating_sub(now.step) as f64;
        match view.validations.last() {
            Some((last, _)) if last.step > 0 => left * last.seconds / last.step as f64,
            _ => left * self.batch() / now.images_per_s.max(1e-9),
        }
    }

    /// Marks the first validation with the lowest error, or with what early stopping compares.
    fn mark_best(&self, view: &mut View) {
        let rule = self.settings.as_ref().and_then(|settings| settings.recipe.early_stopping);
        let value = |report: &ValidationReport| match rule.map(|rule| rule.metric) {
            Some(Metric::Loss) => report.score.loss,
            _ => report.score.top1_error,
        };
        let finite = view.validations.iter_mut().filter(|(report, _)| value(report).is_finite());
        let best = finite.min_by(|(a, _), (b, _)| value(a).total_cmp(&value(b)));
        if let Some((report, _)) = best {
            report.is_best = true;
        }
    }
}

/// Sums over the steps since the last validation.
#[derive(Default)]
struct Sums {
    steps: f64,
    loss: f64,
    top1_error: f64,
    seconds: f64,
}

impl Sums {
    fn add(&mut self, steps: f64, loss: f64, top1_error: f64, seconds: f64) {
        self.steps += steps;
        self.loss += steps * loss;
        self.top1_error += steps * top1_error;
        self.seconds += seconds;
    }

    /// The mean loss and error.
    fn means(&self) -> (f64, f64) {
        (self.loss / self.steps.max(1.0), self.top1_error / self.steps.max(1.0))
    }
}

/// The last of some reports with the means of all, weighted by steps.
fn mean(reports: &[(StepReport, f64)]) -> StepReport {
    let (last, _) = reports[reports.len() - 1];
    let steps: f64 = reports.iter().map(|(_, steps)| steps).sum();
    let mean = |value: fn(&StepReport) -> f64| {
        reports.iter().map(|(report, steps)| steps * value(report)).sum::<f64>() / steps.max(1.0)
    };
    StepReport {
        loss: mean(|report| report.loss),
        top1_error: mean(|report| report.top1_error),
        images_per_s: mean(|report| report.images_per_s),
        data_wait: mean(|report| report.data_wait),
        ..last
    }
}

fn step_of(record: &Record) -> u64 {
    match record {
        Record::Train { step, .. }
        | Record::Validation { step, .. }
        | Record::Layers { step, .. }
        | Record::Warning { step, .. } => *step,
    }
}

fn name_of(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Finished => "finished",
        RunState::Interrupted => "interrupted",
        RunState::StoppedEarly => "stopped early",
        RunState::Failed => "failed",
    }
}

#[cfg(test)]
mod tests;
