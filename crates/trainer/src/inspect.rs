//! `alexnet inspect`: what a file or folder of this program holds, and whether it is intact.

use crate::cli::InspectArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::importing;
use crate::model_file::find_model;
use crate::run_file;
use crate::trained::WEIGHTS;
use report::grouped;
use report::{duration, percent};
use serde_json::{Value, json};
use std::path::Path;
use train::checkpoint::Checkpoint;
use train::folder::Record;
use weights::Weights;
use weights::import::{self, TensorInfo};

/// Runs the command.
///
/// # Errors
/// Exit code 4 if it cannot be read, is damaged, or is none of this program's.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    let path = &importing::resolve(&args.path)?;
    if !run_file::exists(path)? {
        return Err(run_file::unreadable(path, "there is no such file or folder"));
    }
    let is_foreign = !path.is_dir() && import::is_foreign(path);
    if args.model.is_some() && !is_foreign {
        return Err(importing::own_file("--model", path));
    }
    let report = match path.extension().and_then(|extension| extension.to_str()) {
        _ if path.is_dir() => run(path)?,
        Some("jsonl") => metrics(path)?,
        _ if is_foreign => foreign(path, args.model.as_deref())?,
        Some("safetensors") => tensors(path)?,
        _ => {
            return Err(unreadable(
                path,
                "this is neither a run's folder nor a file of weights, a checkpoint or metrics \
                 (for images there is `alexnet data verify`)",
            ));
        }
    };
    console::result(args.json, || &report, || as_text(&report, 0))
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> Fault {
    Fault::new(4, format!("{}: {reason}", path.display()))
}

/// Names and values, indented: `serde_json` keeps names in the order of the alphabet.
fn as_text(report: &Value, depth: usize) -> String {
    let mut text = String::new();
    for (name, value) in report.as_object().into_iter().flatten() {
        let indent = 2 * depth;
        text += &match value {
            Value::Object(_) => format!("{:indent$}{name}\n{}", "", as_text(value, depth + 1)),
            Value::String(text) => format!("{:indent$}{name:<24} {text}\n", ""),
            value => format!("{:indent$}{name:<24} {value}\n", ""),
        };
    }
    text
}

/// Norm and largest value of a tensor, and how many values are not finite.
fn summary(shape: &[usize], values: &[f32]) -> String {
    let norm: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    let bad = values.iter().filter(|x| !x.is_finite()).count();
    let largest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let bad = if bad > 0 { format!(", {bad} NOT FINITE") } else { String::new() };
    format!("{shape:?}, norm {:.4}, largest {largest:.4}{bad}", norm.sqrt())
}

/// Weights of another program: its tensors by name, and the network that they fit.
fn foreign(path: &Path, model: Option<&str>) -> Result<Value> {
    let mut file = import::open(path)?;
    let (infos, mut all, mut list) = (file.tensors().to_vec(), 0, json!({}));
    for (at, TensorInfo { name, shape, element }) in infos.iter().enumerate() {
        let what = if element.is_float() {
            let values = file.read(at).map_err(|reason| unreadable(path, reason))?;
            all += values.len();
            summary(shape, &values)
        } else {
            format!("{shape:?}")
        };
        list[name] = format!("{element} {what}").into();
    }
    let mut report = json!({
        "kind": file.format().to_string(),
        "parameters": grouped(all),
        "tensors": list,
    });
    let about =
        Weights::about(path, &importing::with_model(model.map(find_model).transpose()?, None));
    match about {
        Ok(about) => {
            report["model"] = about.model.name.clone().into();
            report["classes"] = about.classes.len().into();
        }
        Err(error) if model.is_some() => return Err(error.into()),
        Err(weights::Error::Unusable { reason, .. }) => report["no model"] = reason.into(),
        Err(error) => return Err(error.into()),
    }
    Ok(report)
}

/// Weights, or a checkpoint.
fn tensors(path: &Path) -> Result<Value> {
    let weights = Weights::read(path)?;
    let checkpoint = Checkpoint::read(path).ok();
    let about = &weights.about;
    let mut all = 0;
    let mut list = json!({});
    for (name, tensor) in &weights.parameters {
        list[name] = summary(&tensor.shape, &tensor.values).into();
        all += tensor.values.len();
    }
    let mut report = json!({
        "model": about.model.name,
        "input": about.model.input,
        "classes": about.classes.len(),
        "parameters": grouped(all),
        "tensors": list,
        "kind": "weights (no checksum)",
    });
    if let Some(checkpoint) = checkpoint {
        let progress = &checkpoint.progress;
        report["kind"] = "checkpoint, intact".into();
        report["progress"] = json!({
            "step": progress.step,
            "epoch": progress.epoch,
            "batches of the epoch": progress.batches,
            "trained for": duration(progress.seconds),
            "seed": checkpoint.identity.get("seed"),
        });
        if let Some((step, score)) = progress.validation {
            let (loss, error) = (score.loss, percent(score.top1_error));
            let text = format!("loss {loss:.4}, top-1 error {error}, after step {step}");
            report["progress"]["last validation"] = text.into();
        }
        if let Some((step, error)) = progress.best {
            let text = format!("top-1 error {}, after step {step}", percent(error));
            report["progress"]["best validation"] = text.into();
        }
        if let Some(best) = progress.early_stopping.best {
            let (value, step, stale) = (best.value, best.step, progress.early_stopping.stale);
            let text = format!(
                "best {value:.4}, after step {step}; {stale} validations without improvement"
            );
            report["progress"]["early stopping"] = text.into();
        }
    }
    Ok(report)
}

/// A run's folder: how it stands, and which of its checkpoints are intact.
fn run(path: &Path) -> Result<Value> {
    let status = path.join("run.json");
    let text = run_file::read(&status)?.ok_or_else(|| {
        unreadable(path, "there is no run.json in it: this is not the folder of a run")
    })?;
    let status: Value = serde_json::from_str(&text).map_err(|e| unreadable(&status, e))?;
    let mut checkpoints = json!({});
    let files = weights::run::list(path)?;
    for (_, file) in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_string();
        checkpoints[name] = match Checkpoint::read(file) {
            Ok(read) => format!("intact, epoch {}", read.progress.epoch).into(),
            Err(error) => format!("DAMAGED: {error}").into(),
        };
    }
    let metrics = metrics(&path.join("metrics.jsonl"))?;
    let weights = if run_file::exists(&path.join(WEIGHTS))? {
        WEIGHTS
    } else if files.is_empty() {
        "none yet"
    } else {
        "none yet: eval and the like use the newest checkpoint"
    };
    Ok(json!({ "run": status, "weights": weights, "checkpoints": checkpoints, "metrics": metrics }))
}

fn metrics(path: &Path) -> Result<Value> {
    let text = files::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let mut report = json!({ "lines": text.lines().count() });
    for (number, line) in text.lines().enumerate() {
        let record = serde_json::from_str::<Record>(line)
            .map_err(|error| unreadable(path, format!("line {}: {error}", number + 1)))?;
        let (name, text) = match record {
            Record::Train { step, loss, .. } => ("last loss", format!("{loss:.4}, step {step}")),
            Record::Validation { step, score, .. } => {
                let error = percent(score.top1_error);
                ("last validation", format!("top-1 error {error}, step {step}"))
            }
            Record::Warning { step, text } => ("last warning", format!("step {step}: {text}")),
            Record::Layers { step, .. } => ("layers looked at", format!("step {step}")),
        };
        report[name] = text.into();
    }
    Ok(report)
}
