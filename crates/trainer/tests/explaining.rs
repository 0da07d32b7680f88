//! `alexnet explain`, and commands that use the newest run if none is named.

mod program;

use program::{Scratch, alexnet, coloured, expect, last_line};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn files(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| name(entry).to_string_lossy().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn predictions_and_kernels_are_explained_in_pictures() {
    let scratch = Scratch::new("explain");
    let data = coloured(&scratch, &["a"]);
    let (run, out) = (scratch.path("a"), scratch.path("out"));
    let image = format!("{data}/val/red/0.png");
    let explain = |code: i32, more: &[&str]| {
        let fixed = ["explain", "--run", &run, "--out", &out, "--progress", "none"];
        expect(code, &[&fixed[..], more].concat())
    };
    let (stdout, stderr) = explain(0, &[&image, "--json", "--square", "4"]);
    assert_eq!(stderr, "");
    let told = last_line(&stdout);
    let (predicted, _) = expect(0, &["predict", &image, "--run", &run, "--json"]);
    let best = &last_line(&predicted)["top"][0];
    assert_eq!(told["class"], best["class"], "{told}");
    let [a, b] = [&told, best].map(|value| value["probability"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-5, "{told} {best}");
    let names =
        ["grad-cam", "image", "occlusion", "saliency"].map(|name| format!("1-0-{name}.png"));
    assert_eq!(files(Path::new(&out)), [&names[..], &["index.html".to_string()]].concat());
    let page = fs::read_to_string(Path::new(&out).join("index.html")).unwrap();
    assert_eq!(page.matches("<img ").count(), 4);
    assert!(page.contains("Grad-CAM: the maps of relu1"), "{page}");

    let (stdout, _) = explain(0, &["--count", "2", "--class", "blue", "--layer", "pool1"]);
    assert_eq!(stdout.lines().filter(|line| line.contains(": blue ")).count(), 2, "{stdout}");

    let kernels = ["--kernel", "conv1:7", "--kernel", "relu1:0", "--count", "3", "--json"];
    let (stdout, _) = explain(0, &kernels);
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["kernel"], rows[0]["images"].as_array().unwrap().len()),
        (&"conv1:7".into(), 3)
    );
    let values = rows[0]["images"].as_array().unwrap().iter();
    let values: Vec<f64> = values.map(|image| image["value"].as_f64().unwrap()).collect();
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    assert!(Path::new(&out).join("conv1-7.png").is_file());

    for (arguments, message) in [
        (["--kernel", "conv1:8"], "`conv1` has the kernels 0 to 7"),
        (["--kernel", "conv1"], "name a layer and a kernel, counted from 0: conv3:17"),
        (["--kernel", "conv2:0"], "there is no layer `conv2`; did you mean `conv1`?"),
        (["--kernel", "fc2:0"], "`fc2` has no feature maps"),
        (["--class", "bleu"], "the network has no class `bleu`; did you mean `blue`?"),
        (["--layer", "fc2"], "`fc2` has no feature maps"),
    ] {
        let (_, stderr) = explain(2, &arguments);
        assert!(stderr.contains(message) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn eval_and_report_use_the_newest_run() {
    let scratch = Scratch::new("newest");
    fs::create_dir_all(scratch.0.join("runs")).unwrap();
    let told = |arguments: &[&str]| {
        let output = alexnet(arguments).current_dir(&scratch.0).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let few = ["--progress", "none"];
    for command in ["eval", "report"] {
        let (code, _, stderr) = told(&[&[command][..], &few].concat());
        let message = "there is no run in runs/ with weights or a checkpoint: name a run";
        assert!(code == Some(2) && stderr.contains(message), "{command}: {stderr}");
    }
    coloured(&scratch, &["runs/2026-01-01-a", "runs/2026-01-02-b"]);
    let (code, stdout, stderr) = told(&[&["eval", "--json"][..], &few].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let weights = last_line(&stdout)["weights"].as_str().unwrap().to_string();
    assert!(weights.starts_with("runs/2026-01-02-b"), "{weights}");
    let (code, _, stderr) = told(&[&["report", "--out", "r.html"][..], &few].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let page = fs::read_to_string(scratch.0.join("r.html")).unwrap();
    assert!(page.contains("<h1>2026-01-02-b</h1>"), "the newest");
    for text in
        ["guessing among 3 classes", "Reliability diagram", "macro mean", "href=\"#quality-0\""]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("top-5"), "of three classes it says nothing");
}
