//! Runs of several processes under mpirun, through the program.
#![cfg(unix)]

#[path = "../../../comm/tests/mpi/hosts.rs"]
mod hosts;
#[path = "../program/mod.rs"]
mod program;

use hosts::TwoHosts;
use program::{Scratch, alexnet, expect, read_json, two_towers};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A model, and runs of it.
struct Runs(Scratch);

impl Runs {
    fn new(name: &str) -> Runs {
        Runs(two_towers(name))
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    /// `train`, 13 steps an epoch.
    fn train(&self, run: &str, steps: u32, more: &[&str]) -> Vec<String> {
        let (model, run, steps) = (self.path("net.toml"), self.path(run), steps.to_string());
        let fixed = ["train", "--fake-data", "100", "--batch-size", "8", "--lr", "1e-5"];
        let epochs = ["--epochs", "1000", "--progress", "none", "--workers", "1"];
        let own = ["--model", &model, "--run", &run, "--max-steps", &steps];
        let all = [&fixed[..], &epochs, &own, more].concat();
        all.into_iter().map(str::to_string).collect()
    }

    fn resume(&self, run: &str) -> Vec<String> {
        let run = self.path(run);
        ["train", "--resume", &run, "--progress", "none"].map(str::to_string).to_vec()
    }

    /// What was learned, and every loss on the way.
    fn bits(&self, run: &str) -> (Vec<u8>, Vec<Value>) {
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

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn mpirun(ranks: usize) -> Command {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-np", &ranks.to_string()]);
    mpirun
}

/// Has mpirun start the program.
fn program<'a>(mpirun: &'a mut Command, arguments: &[String]) -> &'a mut Command {
    mpirun.arg(env!("CARGO_BIN_EXE_alexnet")).args(arguments)
}

/// Runs, and expects an exit code; gives stderr.
fn ends(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("mpirun, of Open MPI");
    told(&output, code)
}

fn told(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    stderr
}

#[test]
fn two_and_four_processes_come_to_the_bits_of_one() {
    let runs = Runs::new("mpi-bits");
    let data = ["--parallel", "data", "--micro-shards", "4"];
    expect(0, &words(&runs.train("one", 50, &data)));
    let expected = runs.bits("one");
    assert!(expected.1.len() > 50);
    for (world, name) in [(2, "two"), (4, "four")] {
        ends(program(&mut mpirun(world), &runs.train(name, 50, &data)), 0);
        assert!(runs.bits(name) == expected, "{world} processes");
        let environment = read_json(&runs.0.0.join(name).join("env.json"));
        assert_eq!(environment["device"], vec!["cpu"; world].join(","));
    }
    let towers = ["--parallel", "towers"];
    expect(0, &words(&runs.train("one-tower", 50, &towers)));
    ends(program(&mut mpirun(2), &runs.train("two-towers", 50, &towers)), 0);
    assert!(runs.bits("two-towers") == runs.bits("one-tower"));
    let hybrid = ["--parallel", "hybrid", "--micro-shards", "4"];
    expect(0, &words(&runs.train("one-hybrid", 50, &hybrid)));
    ends(program(&mut mpirun(4), &runs.train("four-hybrid", 50, &hybrid)), 0);
    assert!(runs.bits("four-hybrid") == runs.bits("one-hybrid"));
}

#[test]
fn who_would_train_something_else_is_named_before_the_first_step() {
    let runs = Runs::new("mpi-differ");
    let data = |more: &[&str]| runs.train("run", 5, &[&["--parallel", "data"], more].concat());
    let mut mpirun = mpirun(3);
    program(&mut mpirun, &data(&["--seed", "1"])).args([":", "-np", "1"]);
    let other = data(&["--seed", "7", "--set", "recipe.momentum=0.8"]);
    let stderr = ends(program(&mut mpirun, &other), 2);
    // By whichever rank mpirun let speak.
    assert!(stderr.contains("rank 3 would train something else than rank 0, so"), "{stderr}");
    let line = "recipe.momentum: rank 0 has 0.9, rank 3 0.8\n  seed: rank 0 has 1, rank 3 7\n";
    assert!(stderr.contains(line), "{stderr}");
    assert!(!runs.0.0.join("run").exists());

    let refused = |ranks: usize, more: &[&str], told: &str| {
        let stderr = ends(program(&mut self::mpirun(ranks), &runs.train("run", 5, more)), 2);
        assert!(stderr.contains(told), "{stderr}");
    };
    refused(2, &[], "2 processes: say how they share the work, with --parallel data, towers or");
    let devices = ["--parallel", "data", "--device", "cpu,cpu"];
    refused(2, &devices, "each of 2 processes has one device");
    let nccl = ["--parallel", "data", "--exchange", "nccl"];
    refused(2, &nccl, "--exchange nccl: processes that mpirun starts exchange through MPI");
    refused(3, &["--parallel", "data"], "3 ranks cannot share 8 micro-shards evenly");
    refused(3, &["--parallel", "towers"], "cannot be split into 3 towers");
}

/// Whatever mpirun has started on this host.
fn processes(mpirun: &Child) -> Vec<String> {
    let pid = mpirun.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().map(str::to_string).collect()
}

fn signal(name: &str, pid: &str) {
    let _ = Command::new("kill").args([name, pid]).status(); // it may have ended just now
}

/// A long run under mpirun, once it has begun to take checkpoints.
fn begun(runs: &Runs, name: &str, ranks: usize, more: &[&str]) -> Child {
    let data = ["--parallel", "data", "--micro-shards", "4", "--every", "5"];
    let mut mpirun = mpirun(ranks);
    let arguments = runs.train(name, STEPS, &[&data[..], more].concat());
    let started = program(&mut mpirun, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = started.spawn().expect("mpirun, of Open MPI");
    let latest = runs.0.0.join(name).join("checkpoints").join("latest");
    let began = Instant::now();
    while !latest.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Of runs that are ended on the way.
const STEPS: u32 = 600;

/// The bits of those that are not.
fn whole() -> &'static (Vec<u8>, Vec<Value>) {
    static WHOLE: OnceLock<(Vec<u8>, Vec<Value>)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let runs = Runs::new("mpi-whole");
        let data = ["--parallel", "data", "--micro-shards", "4"];
        expect(0, &words(&runs.train("whole", STEPS, &data)));
        runs.bits("whole")
    })
}

#[test]
fn a_process_that_is_killed_at_any_moment_costs_nothing_that_was_saved() {
    let runs = Runs::new("mpi-killed");
    let expected = whole();
    let kills = if std::env::var("ALEXNET_LONG").is_ok() { 10 } else { 2 };
    for kill in 0..kills {
        let (name, ranks) = (format!("run-{kill}"), [2, 4][kill % 2]);
        let mpirun = begun(&runs, &name, ranks, &[]);
        // Not drawn, but as good as: the moments are spread over the run.
        std::thread::sleep(Duration::from_millis((kill as u64 * 137 + 50) % 500));
        let processes = processes(&mpirun);
        assert_eq!(processes.len(), ranks, "it is still running");
        signal("-9", &processes[kill % ranks]);
        let ended = mpirun.wait_with_output().unwrap();
        let stderr = told(&ended, 137);
        assert!(stderr.contains(&format!("rank {}", kill % ranks)), "{stderr}");
        // On fewer, or on one.
        let resume = runs.resume(&name);
        match kill % 2 {
            0 => drop(expect(0, &words(&resume))),
            _ => drop(ends(program(&mut self::mpirun(2), &resume), 0)),
        }
        assert!(runs.bits(&name) == *expected, "kill {kill}");
    }
    if kills > 2 {
        println!("{kills} kills, each resumed to the same bits");
    }
}

/// Takes as long as ranks wait for each other: only `cargo xtask test --long` has the time.
#[test]
fn a_process_that_stands_still_is_missed_by_all_others() {
    if std::env::var("ALEXNET_LONG").is_err() {
        return println!("SKIPPED: half a minute; ALEXNET_LONG=1 runs it");
    }
    let runs = Runs::new("mpi-still");
    let mpirun = begun(&runs, "run", 4, &[]);
    let began = Instant::now();
    signal("-STOP", &processes(&mpirun)[2]);
    let ended = mpirun.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let stderr = told(&ended, 1);
    // mpirun lets the first speak, and may end the others before they have.
    assert!(stderr.contains("rank 2 has not answered for 30 s: all ranks stop"), "{stderr}");
    expect(0, &words(&runs.resume("run")));
    assert!(runs.bits("run") == *whole());
}

#[test]
fn whoever_is_interrupted_all_end_with_one_checkpoint() {
    let runs = Runs::new("mpi-interrupted");
    let expected = whole();
    let status = |name: &str| read_json(&runs.0.0.join(name).join("run.json"));

    // One process, of which mpirun takes the code over.
    let mpirun = begun(&runs, "one", 4, &[]);
    signal("-INT", &processes(&mpirun)[2]);
    let ended = mpirun.wait_with_output().unwrap();
    told(&ended, 130);
    assert_eq!(status("one")["status"], "interrupted");
    ends(program(&mut self::mpirun(2), &runs.resume("one")), 0);
    assert!(runs.bits("one") == *expected);

    // mpirun itself, as Ctrl-C does: its own code says only that it was interrupted.
    let mpirun = begun(&runs, "all", 2, &[]);
    signal("-INT", &mpirun.id().to_string());
    let ended = mpirun.wait_with_output().unwrap();
    assert!(!ended.status.success());
    let text = String::from_utf8_lossy(&ended.stderr).to_string();
    let all = status("all");
    assert_eq!(all["status"], "interrupted", "{all} {text}");
    expect(0, &words(&runs.resume("all")));
    assert!(runs.bits("all") == *expected);
}

#[test]
fn two_hosts_train_one_network_and_the_second_need_not_see_its_folder() {
    let hosts = match TwoHosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return println!("SKIPPED: no network namespaces here: {why}"),
    };
    let runs = Runs::new("mpi-hosts");
    let data = ["--parallel", "data", "--micro-shards", "2"];
    expect(0, &words(&runs.train("one", 40, &data)));
    let before = hosts.bytes();
    ends(program(&mut hosts.mpirun(), &runs.train("two", 20, &data)), 0);
    // Of 20 steps: half of the gradients there and the other half's new values, 4 bytes each.
    let floats = weights_len(&runs, "two");
    let (crossed, floor) = (hosts.bytes() - before, 20 * 4 * floats as u64);
    assert!((floor..4 * floor).contains(&crossed), "{crossed} bytes crossed, {floor} had to");

    // Goes on where the second process has no such folder: it is told all it needs.
    let here = runs.path("two");
    let there = runs.path("not-there");
    let more = |run: &str| {
        let words = ["train", "--resume", run, "--max-steps", "40", "--progress", "none"];
        words.map(str::to_string)
    };
    let mut mpirun = self::mpirun(1);
    program(&mut mpirun, &more(&here)).args([":", "-np", "1"]);
    ends(program(&mut mpirun, &more(&there)), 0);
    assert!(!Path::new(&there).exists());
    // Where it stopped in between it was validated once more: the weights tell.
    assert!(runs.bits("two").0 == runs.bits("one").0);
}

fn weights_len(runs: &Runs, run: &str) -> usize {
    let bytes = fs::read(runs.0.0.join(run).join("weights.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(_, tensor)| tensor.data().len() / 4).sum()
}

#[test]
fn one_process_under_mpirun_is_one_process() {
    let runs = Runs::new("mpi-one");
    ends(program(&mut mpirun(1), &runs.train("run", 3, &[])), 0);
    let _ = alexnet; // of the module that all tests of the program share
}
