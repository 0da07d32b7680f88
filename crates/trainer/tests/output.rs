//! Output that cannot be written: closed pipes, full devices, lost terminals, limits on files.
#![cfg(target_os = "linux")]

mod program;

use program::{Scratch, alexnet, coloured, last_line, read_json, two_towers};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// A run of a few steps on random images, about to be started.
fn train(scratch: &Scratch, run: &str, more: &[&str]) -> Command {
    let model = scratch.path("net.toml");
    let fixed = ["train", "--model", &model, "--run", run, "--fake-data", "64"];
    alexnet(&[&fixed[..], &["--batch-size", "8", "--lr", "1e-5"], more].concat())
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe without a reader.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).to_string()
}

/// The warnings in a run's log.
fn warnings(run: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let warnings = lines.filter(|line| line["kind"] == "warning");
    warnings.map(|line| line["text"].as_str().unwrap().to_string()).collect()
}

fn weights(run: &str) -> Vec<u8> {
    fs::read(Path::new(run).join("weights.safetensors")).unwrap()
}

fn finished(run: &str) -> bool {
    read_json(&Path::new(run).join("run.json"))["status"] == "finished"
}

/// Training goes on to the same bits whatever becomes of its output; the log says it once for each
/// stream, and only a result that is lost on a full device costs a code.
#[test]
fn output_that_cannot_be_written_ends_no_run() {
    let scratch = two_towers("output-run");
    let whole = scratch.path("whole");
    let done = train(&scratch, &whole, &["--epochs", "2", "--progress", "none"]).output().unwrap();
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(warnings(&whole), [""; 0]);
    type Streams = fn() -> [Stdio; 2];
    let ways: [(&str, Streams, &str, i32, &[&str]); 6] = [
        ("pipes", || [closed(), closed()], "plain", 0, &["standard error"]),
        ("full", || [full().into(), full().into()], "plain", 7, &["standard error"]),
        ("stderr", || [Stdio::piped(), full().into()], "plain", 0, &["standard error"]),
        ("json-pipe", || [closed(), Stdio::piped()], "json", 0, &["standard output"]),
        (
            "json-full",
            || [full().into(), full().into()],
            "json",
            7,
            &["standard output", "standard error"],
        ),
        ("bar", || [closed(), closed()], "bar", 0, &["standard error"]),
    ];
    for (name, streams, progress, code, told) in ways {
        let run = scratch.path(name);
        let [stdout, stderr] = streams();
        let mut command = train(&scratch, &run, &["--epochs", "2", "--progress", progress]);
        let output = command.stdout(stdout).stderr(stderr).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output));
        assert!(finished(&run) && weights(&run) == weights(&whole), "{name}");
        let warnings = warnings(&run).join("; ");
        let count = warnings.matches("cannot be written").count();
        assert!(
            count == told.len() && told.iter().all(|told| warnings.contains(told)),
            "{name}: {warnings}"
        );
    }
}

/// As `alexnet train 2>&1 | head -1`: the reader is there at first.
#[test]
fn a_reader_that_goes_away_on_the_way_ends_no_run() {
    let scratch = two_towers("output-head");
    let run = scratch.path("run");
    let mut command = train(&scratch, &run, &["--epochs", "3", "--progress", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    assert!(child.wait().unwrap().success());
    assert!(finished(&run));
    let warnings = warnings(&run);
    assert!(warnings.len() == 1 && warnings[0].contains("Broken pipe"), "{warnings:?}");
}

/// Every command that prints a result.
#[test]
fn results_end_quietly_on_a_closed_pipe_and_with_code_7_on_a_full_device() {
    let scratch = Scratch::new("output-results");
    let data = coloured(&scratch, &["run"]);
    let [run, model, out] = ["run", "tiny.toml", "out"].map(|name| scratch.path(name));
    let picture = Path::new(&data).join("val/red/0.png").display().to_string();
    let [svg, png, npy] = ["x.svg", "x.png", "x.npy"].map(|name| scratch.path(name));
    let checkpoint = fs::read_to_string(Path::new(&run).join("checkpoints/latest")).unwrap();
    let checkpoint = format!("{run}/checkpoints/{}", checkpoint.trim());
    let mut commands = 0;
    for arguments in [
        &["--help"][..],
        &["train", "--help"],
        &["--version"],
        &["train", "--print-config"],
        &["describe"],
        &["describe", "--model", &model],
        &["describe", "--model", &model, "--json"],
        &["describe", "--model", &model, "--toml"],
        &["describe", "--recipe", "paper"],
        &["inspect", &run],
        &["inspect", &run, "--json"],
        &["inspect", &checkpoint],
        &["eval", "--run", &run, "--confusion", &svg],
        &["eval", "--run", &run, "--json"],
        &["eval", "--ensemble", &run, &run],
        &["predict", &picture, "--run", &run],
        &["predict", &picture, "--run", &run, "--json"],
        &["features", &picture, "--run", &run, "--out", &npy],
        &["neighbours", &picture, "--run", &run, "--out", &png],
        &["neighbours", &picture, "--run", &run, "--out", &png, "--json"],
        &["report", &run, "--out", &out, "--progress", "none"],
        &["data", "verify", &data],
        &["data", "stats", &data],
        &["data", "stats", &data, "--json"],
        &["data", "show", &data, "--out", &png],
        &["data", "prepare", "--from", &data, "--out", &scratch.path("shards")],
        &["reproduce"],
        &["doctor"],
        &["completions", "bash"],
        &["man"],
    ] {
        let with = |stdout: Stdio| alexnet(arguments).stdout(stdout).output().unwrap();
        let ended = with(closed());
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", text(&ended));
        assert!(!text(&ended).contains("pipe"), "{arguments:?}: {}", text(&ended));
        let ended = with(full().into());
        assert_eq!(ended.status.code(), Some(7), "{arguments:?}: {}", text(&ended));
        let said = text(&ended).matches("standard output: cannot write: ").count();
        assert_eq!(said, 1, "{arguments:?}: {}", text(&ended));
        // Lost progress output is harmless, and so is an error message that cannot be written.
        let quiet = alexnet(arguments).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(quiet.code(), Some(0), "{arguments:?}");
        let deaf = alexnet(arguments).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(deaf.code(), Some(7), "{arguments:?}");
        commands += 1;
    }
    println!("{commands} commands: quiet on a closed pipe, code 7 on a full device");
    for stderr in [closed(), full().into()] {
        let slip = alexnet(&["describe", "--model", "resnet"]).stderr(stderr).status().unwrap();
        assert_eq!(slip.code(), Some(2));
        let slip = alexnet(&["describe", "--modl"]).stderr(closed()).status().unwrap();
        assert_eq!(slip.code(), Some(2));
    }
}

/// A command after a word to the shell that starts it.
fn under(word: &str, command: &Command) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{word}; exec \"$@\""), "bash"]).arg(command.get_program());
    shell.args(command.get_args());
    shell
}

/// Waits until a run has made some steps.
fn wait_for_steps(run: &str, count: usize) {
    let metrics = Path::new(run).join("metrics.jsonl");
    let patience = Instant::now();
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < count {
        assert!(patience.elapsed() < Duration::from_secs(60), "no step was made");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

/// Waits for the end of a process, which must come within a minute.
fn end(mut child: Child) -> ExitStatus {
    let patience = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if patience.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it went on for a minute");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same command with SIGHUP at its default, though the tests may run under `nohup`.
fn with_default_hang_up(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    env
}

/// A terminal that goes away sends SIGHUP, often more than once, and leaves no output.
#[test]
fn a_hang_up_leaves_a_checkpoint() {
    let scratch = two_towers("output-hup");
    let run = scratch.path("run");
    let long = ["--epochs", "1000000", "--progress", "plain"];
    let mut train = with_default_hang_up(&train(&scratch, &run, &long));
    let child = train.stdout(closed()).stderr(closed()).spawn().unwrap();
    wait_for_steps(&run, 5);
    (0..3).for_each(|_| send("HUP", &child));
    assert_eq!(end(child).code(), Some(129));
    let status = read_json(&Path::new(&run).join("run.json"));
    assert_eq!(status["status"], "interrupted");
    let latest = fs::read_to_string(Path::new(&run).join("checkpoints/latest")).unwrap();
    assert_eq!(latest.trim(), format!("step-{:08}.safetensors", status["step"].as_u64().unwrap()));
    let steps = (status["step"].as_u64().unwrap() + 3).to_string();
    let on = ["train", "--resume", &run, "--max-steps", &steps, "--progress", "none", "--json"];
    let output = alexnet(&on).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(last_line(&stdout)["steps"].to_string(), steps);
}

/// Under `nohup` a hang-up is ignored; other signals are not.
#[test]
fn a_hang_up_that_was_ignored_at_the_start_stays_ignored() {
    let scratch = two_towers("output-nohup");
    let run = scratch.path("run");
    let long = train(&scratch, &run, &["--epochs", "1000000", "--progress", "none"]);
    let mut nohup = under("trap '' HUP", &long);
    let child = nohup.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_steps(&run, 5);
    send("HUP", &child);
    let lines = fs::read_to_string(Path::new(&run).join("metrics.jsonl")).unwrap().lines().count();
    wait_for_steps(&run, lines + 5);
    send("TERM", &child);
    assert_eq!(end(child).code(), Some(143));
}

/// `ulimit -f`: a file that may not grow is a full disk and not the end of the process.
#[test]
fn a_limit_on_files_is_a_full_disk() {
    let scratch = two_towers("output-limit");
    let run = scratch.path("run");
    // 64 KiB: enough for the run's small files, not for its checkpoint.
    let begin = train(&scratch, &run, &["--epochs", "1", "--progress", "none"]);
    let output = under("ulimit -f 64", &begin).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    assert!(text(&output).contains("raise the limit on the size of files"), "{}", text(&output));
    assert_eq!(read_json(&Path::new(&run).join("run.json"))["status"], "failed");
    let on = ["train", "--resume", &run, "--progress", "none"];
    let output = alexnet(&on).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));

    let data = scratch.path("shards");
    let prepare = alexnet(&["data", "prepare", "--from", &coloured(&scratch, &[]), "--out", &data]);
    let output = under("ulimit -f 1", &prepare).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
}
