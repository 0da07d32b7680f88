//! Files of an older program: a run with its checkpoints and weights, and shards
//! (`fixtures/old-run`). They are resumed and read by every later one.

mod program;

use program::{Scratch, alexnet, expect, last_line};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;

/// A copy of the fixture whose settings name the place of the copy.
fn copy(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/old-run");
    for folder in ["", "run", "run/checkpoints", "shards"] {
        fs::create_dir_all(scratch.0.join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let to = scratch.0.join(folder).join(path.file_name().unwrap());
                fs::copy(&path, to).unwrap();
            }
        }
    }
    for file in ["run/config.toml", "run/env.json"] {
        let path = scratch.0.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("@FOLDER@"), "{file}");
        fs::write(&path, text.replace("@FOLDER@", &scratch.0.display().to_string())).unwrap();
    }
    scratch
}

/// The names, shapes and bytes of a file's tensors.
fn tensors(path: &Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape().to_vec(), tensor.data().to_vec()))
        .collect();
    all.sort();
    all
}

#[test]
fn an_old_run_resumes_to_the_bits_of_one_that_was_not_stopped() {
    let scratch = copy("old-resume");
    let run = scratch.path("run");
    let output = alexnet(&["train", "--resume", &run, "--max-steps", "16", "--progress", "none"])
        .current_dir(&scratch.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let made = tensors(&scratch.0.join("run/weights.safetensors"));
    let expected = tensors(&scratch.0.join("sixteen-steps.safetensors"));
    assert_eq!(expected.len(), 7);
    for (made, expected) in made.iter().zip(&expected) {
        assert!(made == expected, "{} differs", expected.0);
    }
    assert_eq!(made.len(), expected.len());
}

#[test]
fn old_weights_and_shards_are_read() {
    let scratch = copy("old-read");
    let [run, shards] = ["run", "shards"].map(|name| scratch.path(name));
    let (stdout, _) = expect(0, &["eval", "--run", &run, "--data", &shards, "--json"]);
    let scores = last_line(&stdout);
    // What the older program's own validation recorded in run.json.
    let recorded = program::read_json(&scratch.0.join("run/run.json"));
    assert_eq!(scores["top1_error"], recorded["validation"]["top1_error"], "{scores}");
    assert_eq!(scores["images"], 9, "{scores}");
    let (stdout, _) = expect(0, &["data", "stats", &shards]);
    assert!(stdout.contains("24") && stdout.contains("stripes"), "{stdout}");
}
