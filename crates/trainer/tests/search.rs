//! Searching for settings: early stopping, `alexnet find-lr` and `alexnet sweep`.
#![cfg(unix)]

mod program;

use program::{Scratch, alexnet, coloured, expect, last_line, read_json};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The network and the images of [`coloured`], as flags.
fn flags(scratch: &Scratch, data: &str) -> Vec<String> {
    let model = scratch.path("tiny.toml");
    let flags = [
        "--data",
        data,
        "--model",
        &model,
        "--recipe",
        "paper",
        "-b",
        "6",
        "--set",
        "recipe.input.side=14",
        "--progress",
        "none",
    ];
    flags.map(String::from).to_vec()
}

fn run(code: i32, command: &str, flags: &[String], more: &[&str]) -> (String, String) {
    let flags = flags.iter().map(String::as_str);
    expect(
        code,
        &[command].into_iter().chain(flags).chain(more.iter().copied()).collect::<Vec<_>>(),
    )
}

#[test]
fn a_run_stops_early_and_says_why() {
    let scratch = Scratch::new("early");
    let data = coloured(&scratch, &[]);
    let flags = flags(&scratch, &data);
    let folder = scratch.path("run");
    // A rate of zero never improves.
    let still =
        ["--lr", "0", "--epochs", "20", "--early-stopping", "2", "--run", &folder, "--json"];
    let (stdout, _) = run(0, "train", &flags, &still);
    let outcome = last_line(&stdout);
    assert_eq!(outcome["steps"], 3 * 4);
    assert_eq!(outcome["early_stopping"]["stopped"], true);
    assert_eq!(outcome["early_stopping"]["epoch"], 1);
    let status = read_json(&Path::new(&folder).join("run.json"));
    assert_eq!(
        (&status["status"], &status["early_stopping"]["step"]),
        (&"finished".into(), &4.into())
    );
    let config = fs::read_to_string(Path::new(&folder).join("config.toml")).unwrap();
    assert!(config.contains("[recipe.early-stopping]\npatience = 2\n"), "{config}");

    let (text, _) = expect(0, &["train", "--resume", &folder, "--progress", "none"]);
    assert!(text.contains("stopped early: the validation's top-1 error has not improved for 2"));
    assert!(text.contains("after epoch 1 (step 4)"), "{text}");
    let (text, _) =
        expect(0, &["train", "--resume", &folder, "--early-stopping", "4", "--progress", "none"]);
    assert!(text.contains("done: 20 steps"), "{text}");
    let (_, message) =
        expect(2, &["train", "--resume", &folder, "--set", "recipe.early-stopping.metric=loss"]);
    assert!(
        message.contains("recipe.early-stopping.metric: was nothing, now \"loss\""),
        "{message}"
    );

    // One image of a class: the test images are the training images.
    let single = scratch.path("single");
    for class in ["blue", "red"] {
        let folder = Path::new(&single).join(class);
        fs::create_dir_all(&folder).unwrap();
        program::write_png(&folder.join("only.png"), [9, 9, 200]);
    }
    let other = scratch.path("none");
    let single = ["--data", &single, "--early-stopping", "--run", &other];
    let (_, message) = run(2, "train", &flags[2..], &single);
    assert!(message.contains("hold out every tenth training image"), "{message}");
    assert!(message.contains("(--early-stopping, --hold-out 10)"), "{message}");
    // A range test validates nothing.
    let test = [&single[..3], &["--set", "recipe.ema.decay=0.9"]].concat();
    let (text, _) = run(0, "find-lr", &flags[2..], &test);
    assert!(text.contains("running mean of the loss"), "{text}");
    assert!(!Path::new(&other).exists(), "nothing is written");
}

#[test]
fn flags_of_other_programs_are_answered() {
    let (_, message) = expect(2, &["train", "--amp"]);
    assert!(message.contains("--precision bf16"), "{message}");
    let scratch = Scratch::new("shapes-12");
    coloured(&scratch, &[]);
    let (_, message) =
        expect(2, &["train", "--model", &scratch.path("tiny.toml"), "--run", "none"]);
    assert!(message.contains("shapes need at least 16: --set recipe.input.side=16"), "{message}");
    let (_, message) = expect(2, &["train", "--lr-schedule", "cosin"]);
    assert!(message.contains("--lr-schedule cosin: there is no value `cosin`"), "{message}");
}

#[test]
fn a_learning_rate_is_found_and_nothing_else_is_left() {
    let scratch = Scratch::new("find-lr");
    let data = coloured(&scratch, &["first"]);
    let flags = flags(&scratch, &data);
    let test = ["--min", "1e-6", "--max", "1e6", "--steps", "40", "--json"];
    let (stdout, _) = run(0, "find-lr", &flags, &test);
    let found = last_line(&stdout);
    assert_eq!(found["diverged"], true, "{found}");
    let points = found["points"].as_array().unwrap();
    assert!((10..=40).contains(&points.len()), "{}", points.len());
    let steepest = found["steepest"].as_f64().unwrap();
    assert!((1e-6..1e6).contains(&steepest), "{found}");
    let (again, _) =
        run(0, "find-lr", &flags, &[&test[..], &["--threads", "3", "--workers", "2"]].concat());
    assert_eq!(stdout, again, "the same bits for any number of threads and workers");

    // It starts from given weights, which stay as they are.
    let weights = scratch.0.join("first/weights.safetensors");
    let before = fs::read(&weights).unwrap();
    let first = scratch.path("first");
    let (warm, _) = run(0, "find-lr", &flags, &[&test[..], &["--init", &first]].concat());
    assert_ne!(last_line(&warm)["points"][0][1], points[0][1]);
    assert_eq!(fs::read(&weights).unwrap(), before);

    let curve = |ending: &str| {
        let file = scratch.path(&format!("curve.{ending}"));
        let (text, _) = run(0, "find-lr", &flags, &[&test[..6], &["--to", &file]].concat());
        (text, fs::read_to_string(&file).unwrap())
    };
    let (text, svg) = curve("svg");
    assert!(text.contains("steepest descent   --lr ") && text.contains("minimum / 10"), "{text}");
    assert!(text.contains("ended early: the loss diverged") && text.contains(" |*"), "{text}");
    assert!(svg.starts_with("<svg") && svg.contains("learning rate</text>"), "{svg}");
    let (_, csv) = curve("csv");
    assert_eq!(csv.lines().count(), 1 + points.len());
    let (_, json) = curve("json");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), found);

    let mut left: Vec<_> =
        fs::read_dir(&scratch.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["curve.csv", "curve.json", "curve.svg", "data", "first", "tiny.toml"]);
    for (more, code, expected) in [
        (&["--min", "0"][..], 2, "--min: the lowest learning rate is 0; it must be above 0"),
        (
            &["--max", "1e-9"],
            2,
            "--max: the highest learning rate is 0.000000001; it must be above",
        ),
        (&["--steps", "3"], 2, "--steps: the number of steps is 3; it must be at least 10"),
        (&["--to", "curve.txt"], 2, "curve.txt: end the name in .svg or .csv or .json"),
        (&["--min", "1e6", "--max", "1e9"], 5, "lower --min"),
    ] {
        let (_, message) = run(code, "find-lr", &flags, more);
        assert!(message.contains(expected), "{more:?}: {message}");
    }
}

/// A sweep's file.
fn sweep_file(scratch: &Scratch, data: &str, search: &str, parameters: &str) -> String {
    let (file, model) = (scratch.path("rates.toml"), scratch.path("tiny.toml"));
    let text = format!(
        "[sweep]\n{search}\n[train]\ndata = \"{data}\"\nmodel = \"{model}\"\nrecipe = \"paper\"\n\
         batch-size = 6\nepochs = 4\nset = [\"recipe.input.side=14\"]\n[parameters]\n{parameters}\n"
    );
    fs::write(&file, text).unwrap();
    file
}

/// Results without times.
fn results(out: &str) -> Value {
    let mut results = read_json(&Path::new(out).join("results.json"));
    for trial in results["trials"].as_array_mut().unwrap() {
        for rung in trial["rungs"].as_array_mut().unwrap() {
            rung.as_object_mut().unwrap().remove("seconds");
        }
    }
    results
}

#[test]
fn a_grid_survives_a_trial_that_diverges_and_is_not_run_twice() {
    let scratch = Scratch::new("grid");
    let data = coloured(&scratch, &[]);
    let rates = "\"recipe.rate\".values = [1e-3, 1e20]\n\"recipe.momentum\".values = [0.5, 0.9]";
    let file = sweep_file(&scratch, &data, "method = \"grid\"", rates);
    let out = scratch.path("out");
    let (listed, _) = expect(0, &["sweep", &file, "--out", &out, "--dry-run"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(!Path::new(&out).exists());
    let (text, notes) = expect(0, &["sweep", &file, "--out", &out, "--progress", "plain"]);
    assert!(notes.contains("trial 0 (1 of 4): recipe.momentum=0.5 recipe.rate=0.001"), "{notes}");
    assert!(notes.contains("trial 1: diverged: step "), "{notes}");
    assert_eq!(text.lines().filter(|line| line.ends_with("diverged")).count(), 2, "{text}");
    assert!(text.contains("alexnet train --batch-size 6 --data "), "{text}");
    let found = results(&out);
    assert_eq!(found["trials"].as_array().unwrap().len(), 4);
    let csv = fs::read_to_string(Path::new(&out).join("results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let page = fs::read_to_string(Path::new(&out).join("index.html")).unwrap();
    assert!(
        page.contains("2 without a result are left out") && page.contains("href=\"trials/0003/\"")
    );

    let (again, notes) = expect(0, &["sweep", &file, "--out", &out]);
    assert_eq!((again, notes.as_str()), (text, ""), "nothing is left to do");
    let (json, _) = expect(0, &["sweep", &file, "--out", &out, "--json"]);
    assert_eq!(last_line(&json)["best"], found["best"]);
    let (_, message) = expect(2, &["sweep", &file, "--out", &out, "--precision", "bf16"]);
    assert!(message.contains("--precision bf16: the trials in"), "{message}");
    assert!(message.contains("are computed in f32"), "{message}");
    expect(0, &["sweep", &file, "--out", &out, "--precision", "f32"]);

    // A trial's folder is that of an ordinary run.
    let run = scratch.path("out/trials/0000");
    expect(0, &["eval", "--run", &run, "--progress", "none"]);
    // Another sweep, and a folder with something else.
    let file = sweep_file(&scratch, &data, "method = \"grid\"", "\"recipe.rate\".values = [1e-3]");
    let (_, message) = expect(2, &["sweep", &file, "--out", &out]);
    assert!(message.contains("this folder has another sweep"), "{message}");
    let (_, message) = expect(2, &["sweep", &file, "--out", &data]);
    assert!(message.contains("the folder is not empty and has no sweep.toml"), "{message}");
    let file = sweep_file(&scratch, &data, "method = \"grid\"", "\"recipe.rat\".values = [1e-3]");
    let (_, message) = expect(2, &["sweep", &file, "--out", &scratch.path("new")]);
    assert!(
        message.contains("rates.toml: trial 0, recipe.rat=0.001: --set recipe.rat=0.001: there is")
    );
    assert!(message.contains("did you mean `rate`?"), "{message}");
    let only = sweep_file(&scratch, &data, "method = \"grid\"", "\"recipe.rate\".values = [1e20]");
    let (text, message) = expect(5, &["sweep", &only, "--out", &scratch.path("new")]);
    assert!(message.contains("every trial has diverged") && text.contains("diverged"), "{message}");
}

fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

/// Waits until so many trials have begun.
fn wait_for_trials(out: &str, count: usize) {
    let began = Instant::now();
    let trials = Path::new(out).join("trials");
    let has_begun = |number: usize| trials.join(format!("{number:04}/run.json")).exists();
    while !(0..count).all(has_begun) {
        assert!(began.elapsed() < Duration::from_secs(120), "no trial has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn halving_resumes_from_interruptions_and_kills_and_its_best_run_can_be_made_again() {
    let scratch = Scratch::new("halving");
    let data = coloured(&scratch, &[]);
    let search = "method = \"halving\"\ntrials = 5\neta = 2\nseed = 1";
    let file = sweep_file(&scratch, &data, search, "\"recipe.rate\".log-uniform = [1e-5, 1e-2]");
    let (whole, parts) = (scratch.path("whole"), scratch.path("parts"));
    let (text, notes) = expect(0, &["sweep", &file, "--out", &whole, "--progress", "plain"]);
    let expected = results(&whole);
    let rungs = |trial: &Value| trial["rungs"].as_array().unwrap().len();
    let trials = expected["trials"].as_array().unwrap();
    let mut counts: Vec<usize> = trials.iter().map(rungs).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 1, 2, 3], "{expected}");
    let epochs = |rung: &Value| rung["epochs"].as_u64().unwrap();
    let longest = trials.iter().max_by_key(|trial| rungs(trial)).unwrap();
    let done: Vec<u64> = longest["rungs"].as_array().unwrap().iter().map(epochs).collect();
    assert_eq!((done, &longest["trial"]), (vec![1, 2, 4], &expected["best"]));
    assert!(notes.contains("up to epoch 4"), "{notes}");

    // The run of the best trial is what the printed command makes.
    let command = text.lines().find(|line| line.starts_with("alexnet train ")).unwrap();
    let mut words = shlex::split(command).unwrap();
    let again = scratch.path("again");
    words.extend(["--run", &again, "--progress", "none"].map(String::from));
    let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    expect(0, &words);
    let best = scratch.path(&format!("whole/trials/{:04}", expected["best"].as_u64().unwrap()));
    let weights = |run: &str| fs::read(Path::new(run).join("weights.safetensors")).unwrap();
    assert!(weights(&best) == weights(&again));

    // Interrupted, killed, and completed.
    let start = || {
        let mut command = alexnet(&["sweep", &file, "--out", &parts, "--progress", "none"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for (signal, begun) in [("INT", 1), ("KILL", 2), ("TERM", 4)] {
        let child = start();
        wait_for_trials(&parts, begun);
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        let code = output.status.code();
        let is_expected = match signal {
            "INT" => code == Some(130) || code == Some(0),
            "TERM" => code == Some(143) || code == Some(0),
            _ => code.is_none() || code == Some(0),
        };
        assert!(is_expected, "{signal}: {code:?} {}", String::from_utf8_lossy(&output.stderr));
    }
    expect(0, &["sweep", &file, "--out", &parts, "--progress", "none"]);
    assert_eq!(results(&parts), expected);
    assert!(weights(&best) == weights(&best.replace("whole", "parts")));
}

/// The only step of an epoch has a finite loss, and its validation has not: such a trial has
/// diverged, and the results can be read again.
#[test]
fn a_trial_whose_validation_is_not_finite_has_diverged() {
    let scratch = Scratch::new("infinite");
    let data = coloured(&scratch, &[]);
    let rates = "\"recipe.rate\".values = [1e-3, 1e17, 1e20]";
    let file = sweep_file(&scratch, &data, "method = \"grid\"", rates);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("batch-size = 6\nepochs = 4", "batch-size = 24\nepochs = 1"))
        .unwrap();
    let out = scratch.path("out");
    let (text, _) = expect(0, &["sweep", &file, "--out", &out]);
    let found = results(&out);
    assert_eq!(found["best"], 0, "{found}");
    let last = &found["trials"][2]["rungs"][0];
    assert_eq!((&last["end"], &last["score"]), (&"diverged".into(), &Value::Null), "{found}");
    assert_eq!(last["steps"], 1, "{found}");
    let (again, notes) = expect(0, &["sweep", &file, "--out", &out]);
    assert_eq!((again, notes.as_str()), (text, ""), "nothing is left to do");
}

/// Settings that only the images can refuse are refused before the first trial, and what a trial
/// finds out itself is its result.
#[test]
fn a_trial_that_fails_does_not_block_its_sweep() {
    let scratch = Scratch::new("failing");
    let data = coloured(&scratch, &[]);
    let out = scratch.path("out");
    let weights = "'recipe.class-weights'.values = ['balanced', {green = 2.0}, {gren = 2.0}]";
    let file = sweep_file(&scratch, &data, "method = \"grid\"", weights);
    let (_, message) = expect(2, &["sweep", &file, "--out", &out]);
    assert!(
        message.contains("trial 2, ") && message.contains("did you mean `green`?"),
        "{message}"
    );
    assert!(!Path::new(&out).exists());

    // Images without validation images of their own, which early stopping needs.
    let single = scratch.path("single");
    for class in ["blue", "red"] {
        let folder = Path::new(&single).join(class);
        fs::create_dir_all(&folder).unwrap();
        program::write_png(&folder.join("only.png"), [9, 9, 200]);
    }
    let values = format!("data.values = [\"{single}\", \"{data}\"]");
    let file = sweep_file(&scratch, &data, "method = \"grid\"", &values);
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen(&format!("data = \"{data}\"\n"), "early-stopping = 3\n", 1);
    fs::write(&file, text).unwrap();
    let out = scratch.path("other");
    let (table, notes) = expect(0, &["sweep", &file, "--out", &out, "--progress", "plain"]);
    assert!(notes.contains("trial 0: failed: ") && notes.contains("hold out every"), "{notes}");
    assert!(table.lines().any(|line| line.ends_with("failed")), "{table}");
    assert_eq!(results(&out)["best"], 1);
    let (again, notes) = expect(0, &["sweep", &file, "--out", &out]);
    assert_eq!((again, notes.as_str()), (table, ""), "nothing is left to do");
}
