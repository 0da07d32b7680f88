//! Training runs of several processes: the program `alexnet`, started by mpirun.
#![cfg(unix)]

#[path = "../../../comm/tests/mpi/hosts.rs"]
mod hosts;
#[path = "../program/mod.rs"]
mod program;

use hosts::TwoHosts;
use program::{Scratch, expect, read_json, two_towers};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use testkit::is_long;

/// A folder with a model and its runs.
struct Runs(Scratch);

impl Runs {
    fn new(name: &str) -> Runs {
        Runs(two_towers(name))
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    /// The arguments of `train` for a run with 13 steps per epoch.
    fn train(&self, run: &str, steps: u32, extra: &[&str]) -> Vec<String> {
        let (model, run, steps) = (self.path("net.toml"), self.path(run), steps.to_string());
        let fixed = ["train", "--fake-data", "100", "--batch-size", "8", "--lr", "1e-5"];
        let epochs = ["--epochs", "1000", "--progress", "none", "--workers", "1"];
        let variable = ["--model", &model, "--run", &run, "--max-steps", &steps];
        let all = [&fixed[..], &epochs, &variable, extra].concat();
        all.into_iter().map(str::to_string).collect()
    }

    /// The arguments that resume a run.
    fn resume(&self, run: &str) -> Vec<String> {
        let run = self.path(run);
        ["train", "--resume", &run, "--progress", "none"].map(str::to_string).to_vec()
    }

    /// The final weights, and all metrics except times and statistics of layers.
    fn results(&self, run: &str) -> (Vec<u8>, Vec<Value>) {
        let run = self.0.0.join(run);
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let entries = line.as_object_mut().unwrap();
            for name in ["images_per_s", "data_wait", "seconds"] {
                entries.remove(name);
            }
            line
        };
        let lines = text.lines().map(line).filter(|line| line["kind"] != "layers");
        (fs::read(run.join("weights.safetensors")).unwrap(), lines.collect())
    }
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn mpirun(ranks: usize) -> Command {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-np", &ranks.to_string()]);
    mpirun
}

/// Adds the program with its arguments to mpirun's command line.
fn program<'a>(mpirun: &'a mut Command, arguments: &[String]) -> &'a mut Command {
    mpirun.arg(env!("CARGO_BIN_EXE_alexnet")).args(arguments)
}

/// Runs mpirun and asserts its exit code; returns stderr.
fn expect_exit(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("mpirun, of Open MPI");
    expect_code(&output, code)
}

/// Asserts an exit code; returns stderr.
fn expect_code(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    stderr
}

#[test]
fn two_and_four_processes_are_bit_identical_to_one() {
    let runs = Runs::new("mpi-bits");
    let data = ["--parallel", "data", "--micro-shards", "4"];
    expect(0, &as_strs(&runs.train("one", 50, &data)));
    let expected = runs.results("one");
    assert!(expected.1.len() > 50);
    for (world, name) in [(2, "two"), (4, "four")] {
        expect_exit(program(&mut mpirun(world), &runs.train(name, 50, &data)), 0);
        assert!(runs.results(name) == expected, "{world} processes");
        let environment = read_json(&runs.0.0.join(name).join("env.json"));
        assert_eq!(environment["device"], vec!["cpu"; world].join(","));
    }
    let towers = ["--parallel", "towers"];
    expect(0, &as_strs(&runs.train("one-tower", 50, &towers)));
    expect_exit(program(&mut mpirun(2), &runs.train("two-towers", 50, &towers)), 0);
    assert!(runs.results("two-towers") == runs.results("one-tower"));
    let hybrid = ["--parallel", "hybrid", "--micro-shards", "4"];
    expect(0, &as_strs(&runs.train("one-hybrid", 50, &hybrid)));
    expect_exit(program(&mut mpirun(4), &runs.train("four-hybrid", 50, &hybrid)), 0);
    assert!(runs.results("four-hybrid") == runs.results("one-hybrid"));
}

#[test]
fn ranks_with_other_settings_are_rejected_before_the_first_step() {
    let runs = Runs::new("mpi-differ");
    let data = |extra: &[&str]| runs.train("run", 5, &[&["--parallel", "data"], extra].concat());
    let mut mpirun = mpirun(3);
    program(&mut mpirun, &data(&["--seed", "1"])).args([":", "-np", "1"]);
    let other = data(&["--seed", "7", "--set", "recipe.momentum=0.8"]);
    let stderr = expect_exit(program(&mut mpirun, &other), 2);
    // Any rank may print this: mpirun ends the others as soon as one has failed.
    assert!(stderr.contains("rank 3 would train something else than rank 0, so"), "{stderr}");
    let line = "recipe.momentum: rank 0 has 0.9, rank 3 0.8\n  seed: rank 0 has 1, rank 3 7\n";
    assert!(stderr.contains(line), "{stderr}");
    assert!(!runs.0.0.join("run").exists());

    let refused = |ranks: usize, extra: &[&str], message: &str| {
        let arguments = runs.train("run", 5, extra);
        let stderr = expect_exit(program(&mut self::mpirun(ranks), &arguments), 2);
        assert!(stderr.contains(message), "{stderr}");
    };
    refused(2, &[], "2 processes: say how they share the work, with --parallel data, towers or");
    let devices = ["--parallel", "data", "--device", "cpu,cpu"];
    refused(2, &devices, "each of 2 processes has one device");
    let nccl = ["--parallel", "data", "--exchange", "nccl"];
    refused(2, &nccl, "--exchange nccl: processes that mpirun starts exchange through MPI");
    refused(3, &["--parallel", "data"], "3 ranks cannot share 8 micro-shards evenly");
    refused(3, &["--parallel", "towers"], "cannot be split into 3 towers");
}

/// The ids of the processes that mpirun has started on this host.
fn processes(mpirun: &Child) -> Vec<String> {
    let pid = mpirun.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().map(str::to_string).collect()
}

fn signal(name: &str, pid: &str) {
    let _ = Command::new("kill").args([name, pid]).status(); // fails if the process has just ended
}

/// Starts a run of [`STEPS`] steps under mpirun and waits for its first checkpoint.
fn start(runs: &Runs, name: &str, ranks: usize) -> Child {
    let data = ["--parallel", "data", "--micro-shards", "4", "--every", "5"];
    let mut mpirun = mpirun(ranks);
    let arguments = runs.train(name, STEPS, &data);
    let command = program(&mut mpirun, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("mpirun, of Open MPI");
    let latest = runs.0.0.join(name).join("checkpoints").join("latest");
    let began = Instant::now();
    while !latest.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Steps of the runs that are interrupted and resumed.
const STEPS: u32 = 600;

/// The results of such a run without an interruption, in one process.
fn uninterrupted() -> &'static (Vec<u8>, Vec<Value>) {
    static RESULTS: OnceLock<(Vec<u8>, Vec<Value>)> = OnceLock::new();
    RESULTS.get_or_init(|| {
        let runs = Runs::new("mpi-whole");
        let data = ["--parallel", "data", "--micro-shards", "4"];
        expect(0, &as_strs(&runs.train("whole", STEPS, &data)));
        runs.results("whole")
    })
}

#[test]
fn runs_with_a_killed_process_resume_bit_identically() {
    let runs = Runs::new("mpi-killed");
    let expected = uninterrupted();
    let kills = if is_long() { 10 } else { 2 };
    for kill in 0..kills {
        let (name, ranks) = (format!("run-{kill}"), [2, 4][kill % 2]);
        let mpirun = start(&runs, &name, ranks);
        // A fixed delay of up to half a second, different for each kill.
        std::thread::sleep(Duration::from_millis((kill as u64 * 137 + 50) % 500));
        let processes = processes(&mpirun);
        assert_eq!(processes.len(), ranks, "all ranks are still running");
        signal("-9", &processes[kill % ranks]);
        let output = mpirun.wait_with_output().unwrap();
        let stderr = expect_code(&output, 137);
        assert!(stderr.contains(&format!("rank {}", kill % ranks)), "{stderr}");
        // Resumes in fewer processes: one of two, or two of four.
        let resume = runs.resume(&name);
        match kill % 2 {
            0 => drop(expect(0, &as_strs(&resume))),
            _ => drop(expect_exit(program(&mut self::mpirun(2), &resume), 0)),
        }
        assert!(runs.results(&name) == *expected, "kill {kill}");
    }
    if kills > 2 {
        println!("{kills} killed runs, each resumed bit-identically");
    }
}

/// Takes the 30 s that ranks wait for each other, so only `cargo xtask test --long` runs it.
#[test]
fn all_ranks_stop_if_one_hangs() {
    if !is_long() {
        return println!("SKIPPED: half a minute; ALEXNET_LONG=1 runs it");
    }
    let runs = Runs::new("mpi-still");
    let mpirun = start(&runs, "run", 4);
    let began = Instant::now();
    signal("-STOP", &processes(&mpirun)[2]);
    let output = mpirun.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let stderr = expect_code(&output, 1);
    // At least one rank prints this; mpirun may end the others before they do.
    assert!(stderr.contains("rank 2 has not answered for 30 s: all ranks stop"), "{stderr}");
    expect(0, &as_strs(&runs.resume("run")));
    assert!(runs.results("run") == *uninterrupted());
}

#[test]
fn an_interrupt_of_one_rank_or_of_mpirun_stops_all_with_a_checkpoint() {
    let runs = Runs::new("mpi-interrupted");
    let expected = uninterrupted();
    let status = |name: &str| read_json(&runs.0.0.join(name).join("run.json"));

    // Interrupts one process: mpirun exits with the code of that process.
    let mpirun = start(&runs, "one", 4);
    signal("-INT", &processes(&mpirun)[2]);
    let output = mpirun.wait_with_output().unwrap();
    expect_code(&output, 130);
    assert_eq!(status("one")["status"], "interrupted");
    expect_exit(program(&mut self::mpirun(2), &runs.resume("one")), 0);
    assert!(runs.results("one") == *expected);

    // Interrupts mpirun itself, as Ctrl-C does: it exits with a code of its own.
    let mpirun = start(&runs, "all", 2);
    signal("-INT", &mpirun.id().to_string());
    let output = mpirun.wait_with_output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr).to_string();
    let all = status("all");
    assert_eq!(all["status"], "interrupted", "{all} {stderr}");
    expect(0, &as_strs(&runs.resume("all")));
    assert!(runs.results("all") == *expected);
}

#[test]
fn two_hosts_train_one_network_without_a_shared_folder() {
    let hosts = match TwoHosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return println!("SKIPPED: no network namespaces here: {why}"),
    };
    let runs = Runs::new("mpi-hosts");
    let data = ["--parallel", "data", "--micro-shards", "2"];
    expect(0, &as_strs(&runs.train("one", 40, &data)));
    let before = hosts.bytes();
    expect_exit(program(&mut hosts.mpirun(), &runs.train("two", 20, &data)), 0);
    // In each of 20 steps the first host must send half of the gradients and half of the updated
    // weights, 4 bytes each.
    let weights = count_weights(&runs, "two");
    let (sent, minimum) = (hosts.bytes() - before, 20 * 4 * weights as u64);
    assert!((minimum..4 * minimum).contains(&sent), "{sent} bytes sent, minimum {minimum}");

    // Resumes with a second process without the run's folder: rank 0 sends it what it needs.
    let here = runs.path("two");
    let there = runs.path("not-there");
    let resume = |run: &str| {
        let arguments = ["train", "--resume", run, "--max-steps", "40", "--progress", "none"];
        arguments.map(str::to_string)
    };
    let mut mpirun = self::mpirun(1);
    program(&mut mpirun, &resume(&here)).args([":", "-np", "1"]);
    expect_exit(program(&mut mpirun, &resume(&there)), 0);
    assert!(!Path::new(&there).exists());
    // Only weights are compared: the resumed run has one more validation, where it stopped.
    assert!(runs.results("two").0 == runs.results("one").0);
}

fn count_weights(runs: &Runs, run: &str) -> usize {
    let bytes = fs::read(runs.0.0.join(run).join("weights.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(_, tensor)| tensor.data().len() / 4).sum()
}

#[test]
fn one_process_under_mpirun_needs_no_parallel_mode() {
    let runs = Runs::new("mpi-one");
    expect_exit(program(&mut mpirun(1), &runs.train("run", 3, &[])), 0);
}
