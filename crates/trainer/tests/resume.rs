//! The program killed, stopped, starved of disk and asked to go on.
//!
//! `ALEXNET_LONG=1` (`cargo xtask test --long`): a hundred kills; otherwise a few.
#![cfg(unix)]

mod program;

use program::{Scratch, alexnet, expect, last_line, read_json};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::is_long;

const MODEL: &str = r#"
name = "tiny"
input = [16, 16, 3]
rows = [
  { conv = { name = "conv1", filters = 16, window = 5, pad = 2, stride = 2 } },
  { relu = {} },
  { lrn = {} },
  { linear = { name = "fc2", outputs = 64 } },
  { relu = {} },
  { dropout = { drop = 0.5 } },
  { linear = { name = "fc3", outputs = 10 } },
]
"#;

/// A folder with a small network's file in it.
fn scratch(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    fs::write(scratch.0.join("tiny.toml"), MODEL).unwrap();
    scratch
}

/// A run of `steps` steps: 13 an epoch, of images that cost nothing.
fn begin(scratch: &Scratch, run: &str, steps: &str, more: &[&str]) -> Vec<String> {
    let model = scratch.path("tiny.toml");
    let fixed = ["train", "--model", &model, "--fake-data", "100", "--batch-size", "8"];
    let run = ["--run", run, "--epochs", "100000", "--max-steps", steps, "--progress", "none"];
    let rate = ["--lr", "1e-5"];
    let all = [&fixed[..], &run, &rate, more].concat();
    all.into_iter().map(String::from).collect()
}

fn resume(run: &str, more: &[&str]) -> Vec<String> {
    let quiet: &[&str] = if more.contains(&"plain") { &[] } else { &["--progress", "none"] };
    let all = [&["train", "--resume", run], quiet, more].concat();
    all.into_iter().map(String::from).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn start(arguments: &[String]) -> Child {
    alexnet(&words(arguments)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
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

/// Waits until a process has taken a run over.
fn wait_for_start(run: &str, child: &Child) {
    let patience = Instant::now();
    let status = || fs::read_to_string(Path::new(run).join("run.json")).unwrap_or_default();
    while !status().contains(&format!("\"pid\": {},", child.id())) {
        assert!(patience.elapsed() < Duration::from_secs(60), "it did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

/// All of a run that is not time.
fn bits(run: &str) -> (Vec<u8>, Vec<Value>) {
    let text = fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let entries = line.as_object_mut().unwrap();
        ["images_per_s", "data_wait", "seconds"].iter().for_each(|name| _ = entries.remove(*name));
        line
    };
    let weights = fs::read(Path::new(run).join("weights.safetensors")).unwrap();
    (weights, text.lines().map(timeless).collect())
}

fn latest(run: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new(run).join("checkpoints/latest")).ok()?;
    text.trim().strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

/// Killed at random moments until it gets through; each time the same command goes on.
#[test]
fn killed_at_random_moments_it_comes_to_the_same_bits() {
    let scratch = scratch("kill-9");
    let whole = scratch.path("whole");
    let steps = "2000";
    let every = ["--every", "25"];
    let began = Instant::now();
    expect(0, &words(&begin(&scratch, &whole, steps, &every)));
    let whole_run = began.elapsed();
    let expected = bits(&whole);

    let wanted = if is_long() { 100 } else { 5 };
    let (mut kills, mut runs, mut equal) = (0, 0, 0);
    let mut draws = SmallRng::seed_from_u64(1);
    while kills < wanted {
        let run = scratch.path(&format!("run-{runs}"));
        let mut acknowledged = None;
        loop {
            let begun = Path::new(&run).join("run.json").exists();
            // A run killed before it began starts anew.
            let arguments =
                if begun { resume(&run, &[]) } else { begin(&scratch, &run, steps, &every) };
            let mut child = start(&arguments);
            std::thread::sleep(whole_run.mul_f64(draws.random_range(0.0..0.5)));
            child.kill().unwrap(); // SIGKILL
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.code(), None, "{}", text(&output));
            kills += 1;
            let now = latest(&run);
            assert!(now >= acknowledged, "from {acknowledged:?} back to {now:?}");
            acknowledged = now;
        }
        runs += 1;
        equal += u32::from(bits(&run) == expected);
        fs::remove_dir_all(&run).unwrap();
    }
    println!("{kills} kills in {runs} runs of {steps} steps: {equal} of {runs} to the same bits");
    assert_eq!(equal, runs);
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).to_string()
}

#[test]
fn a_signal_leaves_a_checkpoint_from_which_the_run_goes_on() {
    let scratch = scratch("signals");
    let (whole, run) = (scratch.path("whole"), scratch.path("run"));
    let mut arguments = begin(&scratch, &run, "100000000", &["--threads", "1"]);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = start(&arguments);
        wait_for_start(&run, &child);
        wait_for_steps(&run, 30);
        // It writes a checkpoint and goes on.
        let before = latest(&run);
        send("USR1", &child);
        let patience = Instant::now();
        while latest(&run) == before {
            assert!(patience.elapsed() < Duration::from_secs(60), "no checkpoint was written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        send(signal, &child);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        println!("SIG{signal}: ended in {:.2} s", asked.elapsed().as_secs_f64());
        let status = read_json(&Path::new(&run).join("run.json"));
        assert_eq!(status["status"], "interrupted");
        assert_eq!(status["step"].as_u64(), latest(&run));
        arguments = resume(&run, &["--threads", "2", "--workers", "3"]);
    }
    let steps = (latest(&run).unwrap() + 100).to_string();
    let result = expect(0, &words(&resume(&run, &["--max-steps", &steps, "--json"]))).0;
    assert_eq!(last_line(&result)["steps"].to_string(), steps);
    expect(0, &words(&begin(&scratch, &whole, &steps, &[])));
    assert!(bits(&run) == bits(&whole));
    let (stdout, _) = expect(0, &["inspect", &run, "--json"]);
    let report = last_line(&stdout);
    assert_eq!(
        (&report["run"]["status"], &report["run"]["resumed"]),
        (&"finished".into(), &2.into())
    );
    let newest = format!("{run}/checkpoints/step-{:08}.safetensors", latest(&run).unwrap());
    let (stdout, _) = expect(0, &["inspect", &newest]);
    for said in ["checkpoint, intact", "conv1.weight", "[16, 5, 5, 3], norm", &steps] {
        assert!(stdout.contains(said), "{said}: {stdout}");
    }
    expect(4, &["inspect", &scratch.path("tiny.toml")]);
    let (stdout, _) = expect(0, &["doctor", "--data", "shapes", "--runs", &run]);
    assert!(stdout.contains("a file is safe in") && stdout.contains("training and"), "{stdout}");
    expect(1, &["doctor", "--runs", &scratch.path("nowhere")]);
    assert_eq!(read_json(&Path::new(&run).join("run.json"))["resumed"], 2);
}

#[test]
fn one_trainer_a_folder_and_no_other_run_under_its_name() {
    let scratch = scratch("lock");
    let run = scratch.path("run");
    let mut child = start(&begin(&scratch, &run, "100000000", &[]));
    wait_for_steps(&run, 30);
    let (_, stderr) = expect(2, &words(&resume(&run, &[])));
    let who = format!("another process trains here (process {}", child.id());
    assert!(stderr.contains(&who), "{stderr}");
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let (_, stderr) = expect(2, &words(&resume(&run, &["--batch-size", "9", "--seed", "3"])));
    for said in ["  recipe.batch: was 8, now 9", "  seed: was 0, now 3", "What may change"] {
        assert!(stderr.contains(said), "{stderr}");
    }
    let (_, stderr) = expect(2, &words(&resume(&run, &["--set", "recipe.rate=1"])));
    assert!(stderr.contains("recipe.rate: was 0.00001, now 1.0"), "{stderr}");
    let (_, stderr) = expect(2, &words(&resume(&run, &["--fake-data", "99"])));
    assert!(stderr.contains("data.train: was "), "{stderr}");
    let (_, stderr) = expect(2, &words(&resume(&scratch.path("none"), &[])));
    assert!(stderr.contains("no run has begun here"), "{stderr}");
    expect(2, &["train", "--resume", &run, "--run", &run]);

    // A damaged checkpoint is reported and the previous one used; the rate may be changed.
    let newest = Path::new(&run).join(format!("checkpoints/step-{:08}", latest(&run).unwrap()));
    let newest = newest.with_extension("safetensors");
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&newest, bytes).unwrap();
    fs::remove_file(scratch.0.join("tiny.toml")).unwrap(); // the run has its own
    let more = ["--epochs", "1", "--lr", "2e-5", "--every", "10", "--progress", "plain"];
    let (_, stderr) = expect(0, &words(&resume(&run, &more)));
    for said in ["WARNING", "its checksum is wrong", "falls back to the checkpoint before"] {
        assert!(stderr.contains(said), "{stderr}");
    }
    let config = fs::read_to_string(Path::new(&run).join("config.toml")).unwrap();
    assert!(config.contains("rate = 0.00002"), "{config}");
    for stored in fs::read_dir(Path::new(&run).join("checkpoints")).unwrap() {
        let path = stored.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            fs::write(path, "no").unwrap();
        }
    }
    let (stdout, _) = expect(0, &["inspect", &run]);
    assert!(stdout.contains("DAMAGED"), "{stdout}");
    let (_, stderr) = expect(4, &words(&resume(&run, &[])));
    assert!(stderr.contains("is intact: the run cannot be resumed"), "{stderr}");
}

/// What hands do to a run's folder: nothing is begun again, nothing is waited for, and a second
/// trainer stays out.
#[test]
fn a_folder_that_was_meddled_with_is_told_and_left() {
    let scratch = scratch("meddled");
    let run = scratch.path("run");
    let mut child = start(&begin(&scratch, &run, "100000000", &["--every", "10"]));
    wait_for_steps(&run, 30);
    fs::remove_file(Path::new(&run).join("lock")).unwrap();
    let (_, stderr) = expect(2, &words(&resume(&run, &[])));
    assert!(stderr.contains("another process trains here"), "{stderr}");
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let step = latest(&run).unwrap();
    let checkpoints = Path::new(&run).join("checkpoints");
    let named = |step: u64| checkpoints.join(format!("step-{step:08}.safetensors"));
    fs::copy(named(step), named(99_999_999)).unwrap();
    let pipe = named(88_888_888);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let steps = (step + 3).to_string();
    let more = ["--max-steps", &steps, "--progress", "plain"];
    let (_, stderr) = expect(0, &words(&resume(&run, &more)));
    assert!(stderr.contains("its name says step 99999999"), "{stderr}");
    assert!(stderr.contains("step-88888888.safetensors: ignored"), "{stderr}");
    assert!(stderr.contains(&format!("goes on after step {step}, ")), "{stderr}");
    assert_eq!(latest(&run).unwrap().to_string(), steps);
    let (stdout, _) = expect(0, &["inspect", &run]);
    assert!(!stdout.contains("88888888") && !stdout.contains("DAMAGED"), "{stdout}");

    let log = fs::read(Path::new(&run).join("metrics.jsonl")).unwrap();
    fs::rename(&checkpoints, scratch.path("away")).unwrap();
    let (_, stderr) = expect(4, &words(&resume(&run, &["--max-steps", "100000000"])));
    assert!(stderr.contains("there is no checkpoint, although"), "{stderr}");
    assert!(fs::read(Path::new(&run).join("metrics.jsonl")).unwrap() == log);
    fs::rename(scratch.path("away"), &checkpoints).unwrap();
    expect(0, &words(&resume(&run, &[])));
}

/// A script under the program's own small disk: a file system in memory, in a namespace of its own.
fn on_a_small_disk(kib: u64, mount: &str, script: &str) -> Option<Output> {
    let script = format!(
        "mount -t tmpfs -o size={kib}k tmpfs {mount} || exit 99\nA={}\ncd {mount}\n{script}",
        env!("CARGO_BIN_EXE_alexnet")
    );
    let output = Command::new("unshare").args(["-Urm", "bash", "-c", &script]).output().ok()?;
    let is_possible = output.status.code() != Some(99) && !text(&output).contains("unshare failed");
    is_possible.then_some(output)
}

/// At 16 sizes of the disk the second checkpoint does not fit beside the first. The run ends with
/// code 7, goes on where there is room, and comes to the same bits.
#[test]
fn a_full_disk_ends_a_run_that_goes_on_when_there_is_room() {
    let scratch = scratch("disk");
    let (whole, mount) = (scratch.path("whole"), scratch.path("mount"));
    fs::create_dir(&mount).unwrap();
    let more = ["--every", "10", "--keep", "1"];
    expect(0, &words(&begin(&scratch, &whole, "40", &more)));
    let checkpoint = Path::new(&whole).join("checkpoints/step-00000040.safetensors");
    let size = fs::metadata(checkpoint).unwrap().len();
    let files = 80 * 1024; // everything else in the folder, in whole pages
    let sizes = if is_long() { 16 } else { 4 };
    let mut good = 0;
    for number in 0..sizes {
        let kib = (files + size + size * number / sizes) / 1024;
        let begin = begin(&scratch, "run", "40", &more).join(" ");
        let script = format!(
            "$A {begin}; echo code $? >&2; ls run/checkpoints/*.safetensors >&2\n\
             $A train --resume run --progress none; echo code $? >&2\n\
             mount -o remount,size=64m .\n\
             $A train --resume run --progress none; echo code $? >&2\n\
             cp -r run {mount}-{number}-run"
        );
        // Copied out of the namespace: what is beside the mount is on the common disk.
        let Some(output) = on_a_small_disk(kib, &mount, &script) else {
            println!("SKIPPED: no file system can be mounted here (unshare -Urm)");
            return;
        };
        let said = text(&output);
        let codes: Vec<&str> = said.lines().filter(|line| line.starts_with("code ")).collect();
        assert_eq!(codes, ["code 7", "code 7", "code 0"], "{kib} KiB: {said}");
        assert!(said.contains("no room: ") && said.contains(" are free"), "{said}");
        assert!(said.contains("run/checkpoints/step-000000"), "{said}");
        good += u64::from(bits(&format!("{mount}-{number}-run")) == bits(&whole));
    }
    println!("a full disk of {sizes} sizes: code 7, then the same bits, {good} of {sizes}");
    assert_eq!(good, sizes);
}
