//! `alexnet track`: what MLflow and TensorBoard read of a run, with them where they are installed.

mod program;

use program::{Scratch, coloured, expect};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The only folder in a folder that a condition accepts.
fn only(folder: &Path, accepts: impl Fn(&Path) -> bool) -> PathBuf {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = all.filter(|path| accepts(path));
    let first = found.next().unwrap_or_else(|| panic!("nothing in {}", folder.display()));
    assert_eq!(found.next(), None);
    first
}

#[test]
fn a_run_is_written_as_mlflow_and_tensorboard_read_it() {
    let scratch = Scratch::new("track");
    coloured(&scratch, &["a"]);
    let (run, store) = (scratch.path("a"), scratch.path("mlruns"));
    let track = ["track", &run, "--mlflow", &store, "--experiment", "colours", "--tensorboard"];
    expect(0, &track);
    let experiment = only(Path::new(&store), Path::is_dir);
    let meta = fs::read_to_string(experiment.join("meta.yaml")).unwrap();
    assert!(meta.contains("name: \"colours\"\n"), "{meta}");
    let first = only(&experiment, Path::is_dir);
    let read = |name: &str| fs::read_to_string(first.join(name)).unwrap();
    assert!(
        read("meta.yaml").contains("run_name: \"a\"\n") && read("meta.yaml").contains("status: 3")
    );
    assert_eq!((read("params/recipe.batch"), read("params/seed")), ("6".into(), "0".into()));
    assert_eq!(read("tags/mlflow.runName"), "a");
    let log = fs::read_to_string(Path::new(&run).join("metrics.jsonl")).unwrap();
    let validations = log.lines().filter(|line| line.contains("\"validation\"")).count();
    let errors = read("metrics/validation/top1_error");
    assert_eq!(errors.lines().count(), validations);
    assert_eq!(errors.lines().last().unwrap().split(' ').nth(2), Some("12"), "{errors}");
    assert!(read("metrics/gradient_norm/conv1").lines().count() > 0);
    assert!(read("artifacts/config.toml").contains("[recipe]"));
    // Written again, it is the same run.
    expect(0, &track);
    assert_eq!(only(&experiment, Path::is_dir), first);

    let events = fs::read(Path::new(&run).join("events.out.tfevents.track")).unwrap();
    for text in ["_hparams_/session_start_info", "recipe.rate", "weights/conv1.weight", "kernels"] {
        assert!(events.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text}");
    }
    // A run that has been tracked can be resumed.
    expect(0, &["train", "--resume", &run, "--epochs", "4", "--progress", "none"]);

    let python = std::env::var("ALEXNET_TRACKERS_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tracking/check.py");
    let checked = Command::new(python).arg(script).arg(&store).arg(&run).output();
    match checked {
        Ok(output) if output.status.code() == Some(77) => {
            eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).to_string();
            assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => eprintln!("SKIPPED: no Python: {error}"),
    }
}

#[test]
fn wrong_usage_is_refused() {
    let scratch = Scratch::new("track-wrong");
    let folder = scratch.path("nothing");
    let (_, stderr) = expect(2, &["track", &folder, "--tensorboard"]);
    assert!(stderr.contains("there is no run here (no run.json)"), "{stderr}");
    let (_, stderr) = expect(2, &["track", &folder]);
    assert!(stderr.contains("--mlflow") && stderr.contains("--tensorboard"), "{stderr}");
    fs::create_dir_all(&folder).unwrap();
    fs::write(Path::new(&folder).join("run.json"), "{").unwrap();
    expect(4, &["track", &folder, "--tensorboard"]);
}
