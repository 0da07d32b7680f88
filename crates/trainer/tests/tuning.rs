//! Tests of `--vendor tune` on stand-ins for the GPU, cuBLASLt, cuDNN and NCCL. A simulated clock
//! gives every algorithm the duration that a test sets.

mod program;

use cuda_on_cpu::{CublasLt, Cudnn, Nccl};
use program::{Scratch, alexnet, with_libraries};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const MODEL: &str = r#"
name = "small"
input = [8, 8, 3]
rows = [
  { linear = { name = "fc1", outputs = 12 } },
  { relu = {} },
  { linear = { name = "fc2", outputs = 10 } },
]
"#;

/// Values of `CUDA_ON_CPU`: simulated microseconds, and the number of cuBLASLt's algorithms. Here
/// cuBLASLt's second algorithm is the fastest in forward passes, our own kernels in backward ones.
const CUBLASLT_FASTER: &str = "\
    clock=1 each=10 linear_forward_small=500 cublaslt0=100 cublaslt1=20 cublaslt2=300 \
     cublaslt_ways=3";
/// Our own kernels are always the fastest.
const OWN_FASTER: &str = "clock=1 each=1 cublaslt0=99 cublaslt1=99 cublaslt2=99 cublaslt_ways=3";

/// A folder with the model and the stand-ins; `None` without g++.
fn prepared(name: &str) -> Option<Scratch> {
    with_libraries(name, MODEL, || {
        Ok([
            ("cublaslt", "libcublasLt.so.13", CublasLt::without(&[])?),
            ("cudnn", "libcudnn.so.9", Cudnn::without(&[])?),
            ("nccl", "libnccl.so.2", Nccl::without(&[])?),
        ])
    })
}

/// The environment of runs.
struct Setup {
    /// Contains runs, caches and libraries.
    scratch: Scratch,
    /// The folder of tuning results that runs share.
    cache: &'static str,
    /// The folders of the libraries that runs can load.
    libraries: &'static [&'static str],
}

const DRIVER_AND_CUBLASLT: &[&str] = &["driver", "cublaslt"];

impl Setup {
    fn new(name: &str) -> Option<Setup> {
        Some(Setup { scratch: prepared(name)?, cache: "cache", libraries: DRIVER_AND_CUBLASLT })
    }

    fn command(&self, clock: &str, arguments: &[&str]) -> Command {
        let folders: Vec<String> =
            self.libraries.iter().map(|name| self.scratch.path(name)).collect();
        let mut command = alexnet(&[&["train", "--progress", "plain"], arguments].concat());
        command.env("LD_LIBRARY_PATH", folders.join(":")).env("CUDA_ON_CPU", clock);
        command.env("ALEXNET_CACHE", self.scratch.path(self.cache));
        command.env_remove("CUDA_VISIBLE_DEVICES");
        command
    }

    /// Trains in a new run, and returns what is printed to stderr.
    fn start(&self, clock: &str, run: &str, more: &[&str]) -> String {
        let (model, path) = (self.scratch.path("net.toml"), self.scratch.path(run));
        let fixed = ["--model", &model, "--run", &path, "--device", "cuda", "--precision", "f32"];
        self.expect(0, clock, &[&fixed[..], &FAKE_DATA, more].concat())
    }

    /// Resumes a run, which ends with exit code `code`; returns what is printed to stderr.
    fn resume(&self, code: i32, clock: &str, run: &str, more: &[&str]) -> String {
        let path = self.scratch.path(run);
        self.expect(code, clock, &[&["--resume", &path], more].concat())
    }

    /// Runs the program, which ends with exit code `code`; returns what is printed to stderr.
    fn expect(&self, code: i32, clock: &str, arguments: &[&str]) -> String {
        let output = self.command(clock, arguments).output().unwrap();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{log}");
        log
    }

    fn file(&self, run: &str, name: &str) -> PathBuf {
        Path::new(&self.scratch.path(run)).join(name)
    }

    fn weights(&self, run: &str) -> Vec<u8> {
        fs::read(self.file(run, "weights.safetensors")).unwrap()
    }

    fn choices(&self, run: &str) -> String {
        fs::read_to_string(self.file(run, "choices.toml")).unwrap()
    }

    /// The only file in the cache.
    fn cached(&self) -> PathBuf {
        let files = fs::read_dir(self.scratch.path(self.cache)).unwrap();
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

const FAKE_DATA: [&str; 4] = ["--fake-data", "8", "--batch-size", "4"];
const FOUR_STEPS: [&str; 2] = ["--max-steps", "4"];
const TUNE_FOUR: [&str; 4] = ["--vendor", "tune", "--max-steps", "4"];
const TUNE_TWO: [&str; 4] = ["--vendor", "tune", "--max-steps", "2"];

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_run_is_tuned_once_and_resumes_with_its_choices() {
    let Some(mut setup) = Setup::new("tuned") else { return };
    setup.start(CUBLASLT_FASTER, "plain", &FOUR_STEPS);
    assert!(!Path::new(&setup.scratch.path("cache")).exists(), "timed without --vendor tune");
    let log = setup.start(CUBLASLT_FASTER, "whole", &TUNE_FOUR);
    let gpu = "a stand-in on the CPU, compute capability 9.0";
    let tuning = format!("tuning  5 products on {gpu}, with cuBLASLt 13.1.0\n");
    assert!(log.contains(&tuning), "{log}");
    assert!(log.contains("tuned   5 products: 3 own, 2 cublaslt in "), "{log}");
    assert!(setup.weights("whole") != setup.weights("plain"), "results do not depend on choices");
    let choices = setup.choices("whole");
    assert!(choices.contains("[work.\"linear_forward 4 x 192 to 12, f32, room 0\"]"), "{choices}");
    assert_eq!(choices.matches("way = \"cublaslt/1\"").count(), 2, "{choices}");
    assert!(choices.contains("\"own/64/1: 0.5000 ms\", \"cublaslt/0: 0.1100 ms\""), "{choices}");
    for line in ["card = \"a stand-in", "driver = \"13.0\"", "libraries = \"cuBLASLt 13.1.0\""] {
        assert!(choices.contains(line), "{choices}");
    }

    // A new run takes its choices from the cache, although other algorithms are faster now.
    let log = setup.start(OWN_FASTER, "again", &TUNE_FOUR);
    assert!(!log.contains("tuning  "), "{log}");
    let cached = setup.cached();
    let from = format!("tuned   5 products: 3 own, 2 cublaslt as {} has them", cached.display());
    assert!(log.contains(&from), "{log}");
    assert_eq!(setup.choices("again"), choices);
    assert!(setup.weights("again") == setup.weights("whole"));

    // A resumed run keeps its own choices, although the cache is empty and others are faster now.
    setup.start(CUBLASLT_FASTER, "resumed", &TUNE_TWO);
    setup.cache = "another cache";
    let log = setup.resume(0, OWN_FASTER, "resumed", &FOUR_STEPS);
    assert!(log.contains("tuned   5 products: 3 own, 2 cublaslt as the run has them"), "{log}");
    assert!(setup.weights("resumed") == setup.weights("whole"));
    assert_eq!(setup.choices("resumed"), choices);

    // Without cached choices a new run uses timings. With our own kernels only, its weights are
    // bit-identical to those of a run without tuning.
    let log = setup.start(OWN_FASTER, "own", &TUNE_FOUR);
    assert!(log.contains("tuned   5 products: 5 own in "), "{log}");
    assert!(setup.weights("own") == setup.weights("plain"));
}

#[test]
fn deterministic_runs_use_no_timings() {
    let Some(setup) = Setup::new("deterministic") else { return };
    setup.start(CUBLASLT_FASTER, "plain", &FOUR_STEPS);
    setup.start(CUBLASLT_FASTER, "whole", &TUNE_FOUR);
    let cached = fs::read(setup.cached()).unwrap();
    let deterministic = [&TUNE_TWO[..], &["--deterministic"]].concat();
    let log = setup.start(CUBLASLT_FASTER, "heuristics", &deterministic);
    assert!(log.contains("tuned   5 products: 5 own by heuristics, without timings"), "{log}");
    let log = setup.resume(0, CUBLASLT_FASTER, "heuristics", &FOUR_STEPS);
    assert!(log.contains("tuned   5 products: 5 own as the run has them"), "{log}");
    assert!(setup.weights("heuristics") == setup.weights("plain"));
    let config = fs::read_to_string(setup.file("heuristics", "config.toml")).unwrap();
    assert!(config.contains("\ndeterministic = true\n"), "{config}");
    // A run that was tuned before keeps its choices.
    setup.start(CUBLASLT_FASTER, "tuned", &TUNE_TWO);
    setup.resume(0, OWN_FASTER, "tuned", &[&FOUR_STEPS[..], &["--deterministic"]].concat());
    assert!(setup.weights("tuned") == setup.weights("whole"));
    assert_eq!(fs::read(setup.cached()).unwrap(), cached);
}

#[test]
fn an_unusable_cache_is_reported_and_ignored() {
    let Some(mut setup) = Setup::new("cache") else { return };
    setup.start(CUBLASLT_FASTER, "first", &TUNE_TWO);
    let (path, whole) = (setup.cached(), fs::read_to_string(setup.cached()).unwrap());
    let foreign = whole.replace("compute capability 9.0", "compute capability 8.6");
    for (at, (text, reason)) in [
        ("no TOML at all", "it is not used"),
        (&whole.replace("cublaslt/1\"", "magic/1\""), "`magic/1` is not an algorithm"),
        (&foreign, "it is of a stand-in on the CPU, compute capability 8.6 and program "),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&path, text).unwrap();
        let log = setup.start(OWN_FASTER, &format!("after-{at}"), &TUNE_TWO);
        assert!(log.contains(&format!("{}: ", path.display())) && log.contains(reason), "{log}");
        assert!(log.contains("tuned   5 products: 5 own in "), "{log}");
        let log = setup.start(CUBLASLT_FASTER, &format!("again-{at}"), &TUNE_TWO);
        assert!(log.contains("5 own as ") && !log.contains("is not used"), "{log}");
    }
    fs::write(setup.scratch.0.join("a file"), "").unwrap();
    setup.cache = "a file";
    let log = setup.start(CUBLASLT_FASTER, "nowhere", &TUNE_TWO);
    assert!(log.contains("a file: ") && log.contains("the next run times anew"), "{log}");
    assert!(log.contains("tuned   5 products: 3 own, 2 cublaslt in "), "{log}");
}

#[test]
fn failing_algorithms_are_excluded_and_listed() {
    let Some(setup) = Setup::new("left-out") else { return };
    let clock = format!("{CUBLASLT_FASTER} cublaslt_failing_way=2 cublaslt_wrong_way=1");
    let log = setup.start(&clock, "run", &TUNE_TWO);
    assert!(log.contains("tuning  10 algorithms cannot be used (choices.toml)"), "{log}");
    assert!(log.contains("tuned   5 products: 3 own, 2 cublaslt in "), "{log}");
    let choices = setup.choices("run");
    assert_eq!(choices.matches("way = \"cublaslt/2\"").count(), 2, "{choices}");
    assert_eq!(choices.matches("\"cublaslt/0: it computes ").count(), 5, "{choices}");
    assert_eq!(choices.matches("\"cublaslt/1: cuBLASLt's product failed").count(), 5, "{choices}");
}

#[test]
fn unusable_choices_are_reported_with_a_remedy() {
    let Some(mut setup) = Setup::new("unusable") else { return };
    setup.start(CUBLASLT_FASTER, "run", &TUNE_TWO);
    let path = setup.file("run", "choices.toml");
    let assert_refused = |setup: &Setup, code, clock: &str, reason: &str| {
        let log = setup.resume(code, clock, "run", &FOUR_STEPS);
        let last = log.lines().last().unwrap_or_default();
        let prefix = format!("alexnet: {}: ", path.display());
        assert!(last.starts_with(&prefix) && last.contains(reason), "{log}");
        assert!(last.ends_with("; either changes results from here on"), "{log}");
    };
    let fewer = CUBLASLT_FASTER.replace("cublaslt_ways=3", "cublaslt_ways=1");
    assert_refused(&setup, 6, &fewer, "`cublaslt/1` is not available for linear_forward 4 x 192");
    if tensor::cublaslt::CublasLt::find().is_err() {
        setup.libraries = &["driver"];
        assert_refused(&setup, 6, CUBLASLT_FASTER, "cuBLASLt cannot be used: ");
        setup.libraries = DRIVER_AND_CUBLASLT;
    }
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, "way = 1").unwrap();
    assert_refused(&setup, 4, CUBLASLT_FASTER, "TOML");

    fs::write(&path, whole.replace("capability 9.0", "capability 8.6")).unwrap();
    let log = setup.resume(0, CUBLASLT_FASTER, "run", &["--max-steps", "3"]);
    let message = "the run's choices were made on a stand-in on the CPU, compute capability 8.6, ";
    assert!(log.contains(message), "{log}");
    assert!(fs::read_to_string(&path).unwrap().contains("capability 8.6"), "not overwritten");
    // Another precision means other products: they are tuned, and choices for f32 are kept.
    let log = setup.resume(0, OWN_FASTER, "run", &["--max-steps", "4", "--precision", "tf32"]);
    assert!(log.contains("tuned   5 products: 5 own in "), "{log}");
    let both = fs::read_to_string(&path).unwrap();
    assert_eq!((both.matches(", f32, ").count(), both.matches(", tf32, ").count()), (5, 5));
    // The two remedies: without the file the run is tuned again; --vendor none needs no library.
    fs::remove_file(&path).unwrap();
    let log = setup.resume(0, &fewer, "run", &["--max-steps", "5", "--precision", "f32"]);
    assert!(log.contains("the run has no choices.toml: from here on"), "{log}");
    let cached = format!("{}: `cublaslt/1` is not available", setup.cached().display());
    assert!(log.contains(&cached) && log.contains("3 own, 2 cublaslt in "), "{log}");
    setup.libraries = &["driver"];
    setup.resume(0, CUBLASLT_FASTER, "run", &["--max-steps", "6", "--vendor", "none"]);

    let model = setup.scratch.path("net.toml");
    let arguments = ["--model", &model, "--device", "cpu", "--vendor", "tune"];
    let log = setup.expect(2, CUBLASLT_FASTER, &[&arguments[..], &FAKE_DATA].concat());
    assert!(log.contains("--vendor tune multiplies on GPUs"), "{log}");
}

#[test]
fn convolutions_can_use_cudnn() {
    let Some(mut setup) = Setup::new("convolutions") else { return };
    let conv = "{ conv = { name = \"conv1\", filters = 8, window = 3, pad = 1 } },\n  { linear";
    fs::write(setup.scratch.0.join("net.toml"), MODEL.replacen("{ linear", conv, 1)).unwrap();
    setup.libraries = &["driver", "cudnn"];
    let log = setup.start("clock=1 cudnn_failing_call=1", "without", &TUNE_TWO);
    assert!(log.contains("tuning  cuDNN cannot be used: "), "{log}");
    assert!(log.contains(", with no library\n"), "{log}");
    let clock = "clock=1 each=10 conv_forward_small=99 cudnn1=20";
    setup.start(clock, "whole", &TUNE_FOUR);
    setup.start(clock, "run", &TUNE_TWO);
    let choices = setup.choices("run");
    assert!(choices.contains("libraries = \"cuDNN 9.19.0\""), "{choices}");
    let chosen = "padding 1 1, groups 1, f32, room 128\"]\nway = \"cudnn/1\"";
    assert!(choices.contains("[work.\"conv_forward 4 x 8 x 8 x 3 to 8 x 8 x 8, window 3 x 3, "));
    assert_eq!(choices.matches("way = \"cudnn/1\"").count(), 1, "{choices}");
    assert!(choices.contains(chosen), "{choices}");
    setup.cache = "another cache";
    setup.resume(0, OWN_FASTER, "run", &FOUR_STEPS);
    assert!(setup.weights("run") == setup.weights("whole"));
    if tensor::cudnn::Cudnn::find().is_err() {
        setup.libraries = &["driver"];
        let log = setup.resume(6, OWN_FASTER, "run", &["--max-steps", "6"]);
        assert!(log.contains("choices.toml: cuDNN cannot be used: "), "{log}");
    }
}

/// Data-parallel GPUs, in one process or in two, use the algorithms that were chosen on the first.
#[test]
fn data_parallel_gpus_use_the_same_algorithms() {
    let Some(mut setup) = Setup::new("shared") else { return };
    setup.libraries = &["driver", "cublaslt", "nccl"];
    let data_parallel = ["--parallel", "data", "--micro-shards", "2"];
    let two = |clock: &str| format!("devices=2 {clock}");
    let log = setup.start(&two(CUBLASLT_FASTER), "one", &[&TUNE_TWO[..], &data_parallel].concat());
    assert!(log.contains("3 own, 2 cublaslt in "), "{log}");
    setup.cache = "another cache";
    let (model, path) = (setup.scratch.path("net.toml"), setup.scratch.path("two"));
    let fixed = ["--model", &model, "--run", &path, "--precision", "f32"];
    let gpus = ["--device", "cuda:0,cuda:1"];
    let arguments = [&fixed[..], &FAKE_DATA, &TUNE_TWO, &data_parallel, &gpus].concat();
    let log = setup.expect(0, &two(CUBLASLT_FASTER), &arguments);
    assert!(log.contains("3 own, 2 cublaslt in "), "{log}");
    assert!(setup.weights("two") == setup.weights("one"));

    setup.cache = "a third cache";
    let path = setup.scratch.path("ranks");
    let fixed = ["--model", &model, "--run", &path, "--precision", "f32"];
    let arguments = [&fixed[..], &FAKE_DATA, &TUNE_TWO, &data_parallel].concat();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    // In the second process other algorithms are faster.
    let started: Vec<_> = [(0, CUBLASLT_FASTER), (1, OWN_FASTER)]
        .into_iter()
        .map(|(rank, clock)| {
            let mut command = setup.command(&two(clock), &arguments);
            command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
            command.env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1");
            command.env("MASTER_PORT", port.to_string()).stderr(Stdio::piped());
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for process in started {
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    assert!(setup.weights("ranks") == setup.weights("one"));
    let choices = setup.choices("ranks");
    assert_eq!(choices.matches("way = \"cublaslt/1\"").count(), 2, "{choices}");
}
