//! Protocols, rehearsed: they go through; one that is killed goes on to the same table.
//!
//! `ALEXNET_LONG=1` (`cargo xtask test --long`): every protocol; otherwise a sample.
#![cfg(unix)]

mod program;

use program::{Scratch, alexnet, coloured, expect, read_json};
use serde_json::Value;
use std::fs;
use std::io::BufRead;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use testkit::is_long;

fn rehearse<'a>(name: &'a str, runs: &'a str) -> [&'a str; 7] {
    ["reproduce", name, "--rehearse", "--runs", runs, "--progress", "plain"]
}

/// What a rehearsal came to, without times.
fn table(runs: &str, name: &str) -> Value {
    let mut value = read_json(&Path::new(runs).join(format!("{name}.json")));
    for run in value["runs"].as_array_mut().unwrap() {
        run.as_object_mut().unwrap().remove("seconds").unwrap();
    }
    value
}

/// Together they have every measure and inspection, both data sets, all views, several stages and
/// both optimizers.
const SAMPLE: [&str; 8] = [
    "fig1",
    "recipe",
    "gradients",
    "dropout-average",
    "recipes-cifar",
    "probes",
    "ensemble",
    "pretrain",
];

#[test]
fn protocols_go_through() {
    let (stdout, _) = expect(0, &["reproduce"]);
    let names: Vec<&str> = stdout
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    assert_eq!((names.len(), names[0], names[20]), (21, "cifar-80sec", "pretrain"));
    assert!(SAMPLE.iter().all(|name| names.contains(name)), "{names:?}");
    let names = if is_long() { &names[..] } else { &SAMPLE };
    println!("{} protocols", names.len());
    for &name in names {
        let scratch = Scratch::new(&format!("rehearse-{name}"));
        let runs = scratch.path("runs");
        let (stdout, _) = expect(0, &rehearse(name, &runs));
        assert!(stdout.contains(&format!("{name}.md")), "{stdout}");
        let text = fs::read_to_string(Path::new(&runs).join(format!("{name}.md"))).unwrap();
        assert!(text.starts_with(&format!("# {name}\n")), "{text}");
        assert!(!text.contains("Some runs are missing"), "{text}");
        let by = match name {
            "gradients" => {
                "\n## By layer\n\nReLU, rate 0.002:\n\n| layer | gradient norm, first step |"
            }
            "dropout-average" => "\n## By masks\n\none layer with dropout:\n\n| masks |",
            "probes" => "\n## By layer\n\npaper:\n\n| layer | test error of a linear classifier |",
            _ => "\n## Runs\n",
        };
        assert!(text.contains(by), "{text}");
        assert!(text.contains(&format!("reproduce {name} --rehearse\n")), "{text}");
        let svg = fs::read_to_string(Path::new(&runs).join(format!("{name}.svg"))).unwrap();
        let has_one_epoch = name == "gradients"; // a point, and no line
        assert!(svg.contains("<polyline") || has_one_epoch, "{svg}");
        assert!(svg.ends_with("</svg>\n"), "{svg}");
        let table = table(&runs, name);
        let tested = |run: &Value| run["tested"].as_array().unwrap().len();
        assert!(table["runs"].as_array().unwrap().iter().all(|run| tested(run) > 0), "{table}");
        assert_eq!(table["together"].is_null(), name != "ensemble");
        let images = "48 training and 24 test images of 256 x 256 pixels, 10 classes";
        let twice = format!("\n* Images: {images}; then {images}\n");
        assert_eq!(text.contains(&twice), name == "pretrain", "{text}");
        if name == "recipes-cifar" {
            fine_tuned_networks_share_the_run_they_begin_with(&runs, &table);
        }
        if name == "ensemble" {
            an_average_is_of_the_runs_as_they_are(&runs, &table);
        }
    }
}

/// Both begin with the other protocol's run, whose steps are not theirs.
fn fine_tuned_networks_share_the_run_they_begin_with(runs: &str, table: &Value) {
    let names: Vec<String> = fs::read_dir(runs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().to_string())
        .filter(|name| name.contains("seed-0"))
        .collect();
    assert!(names.contains(&"recipes-tiny-modern-seed-0".to_string()), "{names:?}");
    assert_eq!(names.len(), 5, "four runs and the one that two share: {names:?}");
    let steps = table["runs"].as_array().unwrap().iter().map(|run| run["steps"].as_f64().unwrap());
    assert!(steps.clone().all(|steps| steps == 9.0), "{:?}", steps.collect::<Vec<_>>());
}

/// The average that was kept is that of other runs as soon as one is measured anew.
fn an_average_is_of_the_runs_as_they_are(runs: &str, expected: &Value) {
    let entries = fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path());
    let entries: Vec<_> = entries.collect();
    let ending = |end: &str| {
        let found = entries.iter().find(|path| path.display().to_string().ends_with(end));
        found.unwrap_or_else(|| panic!("{end}: {entries:?}"))
    };
    let kept = ending("-together.json");
    let mut stale = read_json(kept);
    stale["loss"] = 99.0.into();
    fs::write(kept, stale.to_string()).unwrap();
    expect(0, &rehearse("ensemble", runs));
    assert_eq!(table(runs, "ensemble")["together"]["loss"], 99.0);
    let measured = |path: &&std::path::PathBuf| path.join("measured.json").exists();
    fs::remove_file(entries.iter().find(measured).unwrap().join("measured.json")).unwrap();
    expect(0, &rehearse("ensemble", runs));
    assert_eq!(table(runs, "ensemble"), *expected);
}

/// A protocol on ImageNet with its own recipe, on images of 32 x 32 pixels, until a signal comes.
#[test]
fn a_miniature_has_the_recipe_of_the_whole() {
    let scratch = Scratch::new("miniature");
    let data = coloured(&scratch, &[]);
    let (runs, out) = (scratch.path("runs"), scratch.path("out"));
    let mut child = alexnet(&["reproduce", "ilsvrc2012", "--miniature", "--data", &data])
        .args(["--runs", &runs, "--out", &out, "--progress", "plain"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut seen = String::new();
    for line in std::io::BufReader::new(stderr).lines() {
        seen += &(line.unwrap() + "\n");
        if seen.contains("epoch 1/91  validation") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.contains("model   alexnet-source-miniature, "), "{seen}");
    assert!(seen.contains("batch 128, rate 0.01 (6 phases)"), "{seen}");
    assert!(seen.contains(" images of 32 x 32, 3 classes"), "{seen}");

    let (_, stderr) = expect(2, &["reproduce", "lrn", "--miniature", "--data", &data]);
    assert!(stderr.contains("--miniature: lrn's images are small as they are"), "{stderr}");
    expect(2, &["reproduce", "ensemble", "--miniature", "--rehearse"]);
}

#[test]
fn one_that_is_killed_goes_on_to_the_same_table() {
    let scratch = Scratch::new("rehearse-killed");
    let (whole, killed) = (scratch.path("whole"), scratch.path("killed"));
    let name = "cifar-13pct"; // two stages, two seeds, three ways to test
    expect(0, &rehearse(name, &whole));
    let expected = table(&whole, name);
    assert_eq!(expected["runs"].as_array().unwrap().len(), 2);

    // Once in its first stage, and once in a later one.
    for run in ["cifar-13pct-seed-0-four-fifths", "cifar-13pct-seed-1-all"] {
        let mut child = alexnet(&rehearse(name, &killed))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let metrics = Path::new(&killed).join(run).join("metrics.jsonl");
        let began = Instant::now();
        while fs::metadata(&metrics).map_or(0, |file| file.len()) < 500 {
            assert!(began.elapsed() < Duration::from_secs(60), "{run} did not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    expect(0, &rehearse(name, &killed));
    assert_eq!(table(&killed, name), expected);
    // Once more makes no run.
    let (_, stderr) = expect(0, &rehearse(name, &killed));
    assert!(!stderr.contains("recipe "), "{stderr}");
}

/// Three classes where the protocol has ten, a folder named from where the command was typed, and
/// tests made later from elsewhere.
#[test]
fn the_data_decide_the_classes_and_are_found_from_anywhere() {
    let scratch = Scratch::new("reproduce-data");
    let data = coloured(&scratch, &[]);
    let (runs, out) = (scratch.path("runs"), scratch.path("out"));
    let go = |folder: &Path, data: &str| {
        let words = ["reproduce", "cifar-80sec", "--data", data, "--seeds", "1", "--runs", &runs];
        let mut command = alexnet(&[&words[..], &["--out", &out, "--progress", "plain"]].concat());
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        table(&out, "cifar-80sec")
    };
    let made = go(&scratch.0, "data");
    // 145,578 parameters, of which 65 for each of the seven classes that are not there.
    assert_eq!(made["runs"][0]["parameters"], 145_578 - 7 * 65);
    let page = fs::read_to_string(Path::new(&out).join("cifar-80sec.md")).unwrap();
    assert!(page.contains("reproduce cifar-80sec --data DIR --seeds 1\n"), "{page}");
    let run = Path::new(&runs).join("cifar-80sec-seed-0");
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    let whole = fs::canonicalize(&data).unwrap();
    assert!(config.contains(&format!("data = \"{}\"", whole.display())), "{config}");

    // What was measured is lost, and the images are elsewhere now.
    fs::remove_file(run.join("measured.json")).unwrap();
    let moved = scratch.path("moved");
    fs::rename(&data, &moved).unwrap();
    assert_eq!(go(Path::new("/"), &moved), made);

    // Neither what was measured nor what is done stands for other images, or another precision.
    let other = scratch.path("other");
    fs::rename(coloured(&scratch, &[]), &other).unwrap();
    let image = first_image(&Path::new(&other).join("train"));
    let renamed = image.with_file_name(format!("z-{}", image.file_name().unwrap().display()));
    fs::rename(&image, renamed).unwrap();
    let go = |more: &[&str]| {
        let words = ["reproduce", "cifar-80sec", "--seeds", "1", "--runs", &runs, "--out", &out];
        expect(2, &[&words[..], more].concat()).1
    };
    let refused = |said: &str| {
        let sentence = format!(
            "{}: this run was made with other images ({}) than those of {}: name its own with \
             --data",
            run.display(),
            whole.display(),
            fs::canonicalize(&other).unwrap().display()
        );
        assert!(said.contains(&sentence), "{said}\n{sentence}");
    };
    refused(&go(&["--data", &other]));
    fs::remove_file(run.join("measured.json")).unwrap();
    refused(&go(&["--data", &other]));
    let said = go(&["--data", &moved, "--precision", "tf32"]);
    assert!(said.contains("this run computes in f32, not in tf32: leave --precision"), "{said}");
    let said = go(&["--data", &moved, "--precision", "f31"]);
    assert!(said.contains("f31"), "{said}");
    // What was begun before env.json told of its images: its checkpoint does.
    let env = fs::read_to_string(run.join("env.json")).unwrap();
    fs::write(run.join("env.json"), env.replace("fingerprints", "unknown")).unwrap();
    refused(&go(&["--data", &other]));
}

/// Any file below a folder.
fn first_image(folder: &Path) -> std::path::PathBuf {
    let entry = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if entry.is_dir() { first_image(&entry) } else { entry }
}

#[test]
fn wrong_words_are_answered() {
    let scratch = Scratch::new("rehearse-wrong");
    let (stdout, _) = expect(0, &["reproduce"]);
    assert!(stdout.contains("cifar-80sec      cuda-convnet's 26 % net"), "{stdout}");
    let (_, stderr) = expect(2, &["reproduce", "cifar-80sek", "--data", "x"]);
    assert!(stderr.contains("did you mean `cifar-80sec`?"), "{stderr}");
    let (_, stderr) = expect(2, &["reproduce", "cifar-80sec"]);
    assert!(stderr.contains("--data: cifar-80sec needs images"), "{stderr}");
    let (_, stderr) = expect(2, &["reproduce", "pretrain", "--data", "x"]);
    assert!(stderr.contains("--larger: pretrain needs images"), "{stderr}");
    let more = ["--device", "cuda:99"];
    let (_, stderr) =
        expect(6, &[&["reproduce", "cifar-80sec", "--data", "x"], &more[..]].concat());
    assert!(stderr.starts_with("alexnet: cuda:99 cannot be used: "), "{stderr}");

    // A run's folder that is another's.
    let runs = scratch.path("runs");
    let rehearsal = [&rehearse("overlap", &runs)[..], &["--seeds", "1"]].concat();
    expect(0, &rehearsal);
    let config = Path::new(&runs).join("cifar-80sec-seed-0/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("momentum = 0.9", "momentum = 0.8")).unwrap();
    let (_, stderr) = expect(2, &rehearsal);
    assert!(stderr.contains("cifar-80sec-seed-0: this run has another recipe"), "{stderr}");
}
