//! The files of a run's folder, for the example of the front page and for tests.

use crate::runner::RunRequest;
use serde_json::json;
use std::path::Path;
use std::{fs, io};
use weights::Weights;

/// The fingerprints in the run's `env.json`.
pub const FINGERPRINTS: [&str; 2] = ["of the training images", "of the test images"];

/// Writes the files of a run that [`reproduce`](crate::reproduce) reads: one epoch of ten steps.
/// The weights file is empty.
///
/// # Errors
/// If a file cannot be written.
pub fn leave_run(run: &Path, task: &RunRequest) -> io::Result<()> {
    let environment = json!({
        "cpu": "a processor", "cores": 2, "threads": 1, "device": "cpu",
        "precision": task.precision.as_deref().unwrap_or("f32"),
        "data": {
            "train": 48, "test": 24, "size": [32, 32], "classes": ["red", "blue"],
            "fingerprints": FINGERPRINTS,
        },
    });
    let learned = json!({ "kind": "train", "step": 10, "loss": 2.0, "top1_error": 0.5, "rate": 1 });
    let validated = json!({
        "kind": "validation", "step": 10, "epoch": 1, "loss": 1.5, "top1_error": 0.25,
        "top5_error": 0.0, "seconds": 12.0,
    });
    fs::create_dir_all(run)?;
    fs::write(run.join("model.toml"), task.spec.to_toml())?;
    fs::write(run.join("env.json"), environment.to_string())?;
    fs::write(run.join("metrics.jsonl"), format!("{learned}\n{validated}\n"))?;
    fs::write(run.join(Weights::FILE), "")?;
    fs::write(run.join("run.json"), json!({ "status": "finished" }).to_string())
}
