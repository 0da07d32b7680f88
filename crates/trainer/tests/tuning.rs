//! Runs under `--vendor tune`, on stand-ins for a GPU and for cuBLASLt, by a clock that says what
//! the tests tell it.

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

/// A clock by which cuBLASLt's second way is the fastest to go forward, and our own kernels to go
/// back; and one by which ours always are.
const CUBLASLT: &str = "\
    clock=1 each=10 linear_forward_small=500 cublaslt0=100 cublaslt1=20 cublaslt2=300 \
     cublaslt_ways=3";
const OWN: &str = "clock=1 each=1 cublaslt0=99 cublaslt1=99 cublaslt2=99 cublaslt_ways=3";

fn prepared(name: &str) -> Option<Scratch> {
    with_libraries(name, MODEL, || {
        Ok([
            ("cublaslt", "libcublasLt.so.13", CublasLt::without(&[])?),
            ("cudnn", "libcudnn.so.9", Cudnn::without(&[])?),
            ("nccl", "libnccl.so.2", Nccl::without(&[])?),
        ])
    })
}

/// Where runs are, and what is around them.
struct Bench {
    scratch: Scratch,
    cache: &'static str,
    folders: &'static [&'static str],
}

const BOTH: &[&str] = &["driver", "cublaslt"];

impl Bench {
    fn new(name: &str) -> Option<Bench> {
        Some(Bench { scratch: prepared(name)?, cache: "cache", folders: BOTH })
    }

    fn command(&self, clock: &str, arguments: &[&str]) -> Command {
        let folders: Vec<String> =
            self.folders.iter().map(|name| self.scratch.path(name)).collect();
        let mut command = alexnet(&[&["train", "--progress", "plain"], arguments].concat());
        command.env("LD_LIBRARY_PATH", folders.join(":")).env("CUDA_ON_CPU", clock);
        command.env("ALEXNET_CACHE", self.scratch.path(self.cache));
        command.env_remove("CUDA_VISIBLE_DEVICES");
        command
    }

    /// A run of so many steps; what it says.
    fn begin(&self, clock: &str, run: &str, more: &[&str]) -> String {
        let (model, path) = (self.scratch.path("net.toml"), self.scratch.path(run));
        let fixed = ["--model", &model, "--run", &path, "--device", "cuda", "--precision", "f32"];
        self.expect(0, clock, &[&fixed[..], &SMALL, more].concat())
    }

    fn go_on(&self, code: i32, clock: &str, run: &str, more: &[&str]) -> String {
        let path = self.scratch.path(run);
        self.expect(code, clock, &[&["--resume", &path], more].concat())
    }

    fn expect(&self, code: i32, clock: &str, arguments: &[&str]) -> String {
        let output = self.command(clock, arguments).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        told
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

    /// The cache's one file.
    fn cached(&self) -> PathBuf {
        let files = fs::read_dir(self.scratch.path(self.cache)).unwrap();
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

const SMALL: [&str; 4] = ["--fake-data", "8", "--batch-size", "4"];
const FOUR: [&str; 2] = ["--max-steps", "4"];
const TUNE: [&str; 4] = ["--vendor", "tune", "--max-steps", "4"];
const TUNE_TWO: [&str; 4] = ["--vendor", "tune", "--max-steps", "2"];

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_run_is_tuned_once_and_goes_on_in_its_ways() {
    let Some(mut bench) = Bench::new("tuned") else { return };
    bench.begin(CUBLASLT, "plain", &FOUR);
    assert!(!Path::new(&bench.scratch.path("cache")).exists(), "nothing is timed unasked");
    let told = bench.begin(CUBLASLT, "whole", &TUNE);
    let gpu = "a stand-in on the CPU, compute capability 9.0";
    let tuning = format!("tuning  5 products on {gpu}, with cuBLASLt 13.1.0\n");
    assert!(told.contains(&tuning), "{told}");
    assert!(told.contains("tuned   5 products: 3 own, 2 cublaslt in "), "{told}");
    assert!(bench.weights("whole") != bench.weights("plain"), "other bits, or this shows nothing");
    let choices = bench.choices("whole");
    assert!(choices.contains("[work.\"linear_forward 4 x 192 to 12, f32, room 0\"]"), "{choices}");
    assert_eq!(choices.matches("way = \"cublaslt/1\"").count(), 2, "{choices}");
    assert!(choices.contains("\"own/64/1: 0.5000 ms\", \"cublaslt/0: 0.1100 ms\""), "{choices}");
    for line in ["GPU = \"a stand-in", "driver = \"13.0\"", "libraries = \"cuBLASLt 13.1.0\""] {
        assert!(choices.contains(line), "{choices}");
    }

    // From the cache, whatever the clock says by now.
    let told = bench.begin(OWN, "again", &TUNE);
    assert!(!told.contains("tuning  "), "{told}");
    let cached = bench.cached();
    let from = format!("tuned   5 products: 3 own, 2 cublaslt as {} has them", cached.display());
    assert!(told.contains(&from), "{told}");
    assert_eq!(bench.choices("again"), choices);
    assert!(bench.weights("again") == bench.weights("whole"));

    // From the run, whatever clock and cache say.
    bench.begin(CUBLASLT, "resumed", &TUNE_TWO);
    bench.cache = "another cache";
    let told = bench.go_on(0, OWN, "resumed", &FOUR);
    assert!(told.contains("tuned   5 products: 3 own, 2 cublaslt as the run has them"), "{told}");
    assert!(bench.weights("resumed") == bench.weights("whole"));
    assert_eq!(bench.choices("resumed"), choices);

    // The clock decides where nothing else does: ours, to the bits of the rules.
    let told = bench.begin(OWN, "own", &TUNE);
    assert!(told.contains("tuned   5 products: 5 own in "), "{told}");
    assert!(bench.weights("own") == bench.weights("plain"));
}

#[test]
fn under_deterministic_no_clock_decides() {
    let Some(bench) = Bench::new("deterministic") else { return };
    bench.begin(CUBLASLT, "plain", &FOUR);
    bench.begin(CUBLASLT, "whole", &TUNE);
    let cached = fs::read(bench.cached()).unwrap();
    let told = bench.begin(CUBLASLT, "rules", &[&TUNE_TWO[..], &["--deterministic"]].concat());
    assert!(told.contains("tuned   5 products: 5 own by heuristics, without timings"), "{told}");
    let told = bench.go_on(0, CUBLASLT, "rules", &FOUR);
    assert!(told.contains("tuned   5 products: 5 own as the run has them"), "{told}");
    assert!(bench.weights("rules") == bench.weights("plain"));
    let config = fs::read_to_string(bench.file("rules", "config.toml")).unwrap();
    assert!(config.contains("\ndeterministic = true\n"), "{config}");
    // A run that was tuned keeps what it has.
    bench.begin(CUBLASLT, "tuned", &TUNE_TWO);
    bench.go_on(0, OWN, "tuned", &[&FOUR[..], &["--deterministic"]].concat());
    assert!(bench.weights("tuned") == bench.weights("whole"));
    assert_eq!(fs::read(bench.cached()).unwrap(), cached);
}

#[test]
fn a_cache_that_is_of_no_use_is_told_and_done_without() {
    let Some(mut bench) = Bench::new("cache") else { return };
    bench.begin(CUBLASLT, "first", &TUNE_TWO);
    let (path, whole) = (bench.cached(), fs::read_to_string(bench.cached()).unwrap());
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
        let told = bench.begin(OWN, &format!("after-{at}"), &TUNE_TWO);
        assert!(told.contains(&format!("{}: ", path.display())) && told.contains(reason), "{told}");
        assert!(told.contains("tuned   5 products: 5 own in "), "{told}");
        let told = bench.begin(CUBLASLT, &format!("again-{at}"), &TUNE_TWO);
        assert!(told.contains("5 own as ") && !told.contains("is not used"), "{told}");
    }
    fs::write(bench.scratch.0.join("a file"), "").unwrap();
    bench.cache = "a file";
    let told = bench.begin(CUBLASLT, "nowhere", &TUNE_TWO);
    assert!(told.contains("a file: ") && told.contains("the next run times anew"), "{told}");
    assert!(told.contains("tuned   5 products: 3 own, 2 cublaslt in "), "{told}");
}

#[test]
fn ways_that_fail_are_left_out_and_named() {
    let Some(bench) = Bench::new("left-out") else { return };
    let clock = format!("{CUBLASLT} cublaslt_failing_way=2 cublaslt_wrong_way=1");
    let told = bench.begin(&clock, "run", &TUNE_TWO);
    assert!(told.contains("tuning  10 algorithms cannot be used (choices.toml)"), "{told}");
    assert!(told.contains("tuned   5 products: 3 own, 2 cublaslt in "), "{told}");
    let choices = bench.choices("run");
    assert_eq!(choices.matches("way = \"cublaslt/2\"").count(), 2, "{choices}");
    assert_eq!(choices.matches("\"cublaslt/0: it makes ").count(), 5, "{choices}");
    assert_eq!(choices.matches("\"cublaslt/1: cuBLASLt's product failed").count(), 5, "{choices}");
}

#[test]
fn choices_that_cannot_be_followed_are_one_sentence_with_a_remedy() {
    let Some(mut bench) = Bench::new("unfollowed") else { return };
    bench.begin(CUBLASLT, "run", &TUNE_TWO);
    let path = bench.file("run", "choices.toml");
    let refused = |bench: &Bench, code, clock: &str, reason: &str| {
        let told = bench.go_on(code, clock, "run", &FOUR);
        let last = told.lines().last().unwrap_or_default();
        let begin = format!("alexnet: {}: ", path.display());
        assert!(last.starts_with(&begin) && last.contains(reason), "{told}");
        assert!(last.ends_with("; both have other bits from here on"), "{told}");
    };
    let fewer = CUBLASLT.replace("cublaslt_ways=3", "cublaslt_ways=1");
    refused(&bench, 6, &fewer, "`cublaslt/1` is not available for linear_forward 4 x 192");
    if tensor::cublaslt::CublasLt::find().is_err() {
        bench.folders = &["driver"];
        refused(&bench, 6, CUBLASLT, "cuBLASLt cannot be used: ");
        bench.folders = BOTH;
    }
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, "way = 1").unwrap();
    refused(&bench, 4, CUBLASLT, "TOML");

    fs::write(&path, whole.replace("capability 9.0", "capability 8.6")).unwrap();
    let told = bench.go_on(0, CUBLASLT, "run", &["--max-steps", "3"]);
    let said = "the run's choices were made on a stand-in on the CPU, compute capability 8.6, ";
    assert!(told.contains(said), "{told}");
    assert!(fs::read_to_string(&path).unwrap().contains("capability 8.6"), "where it was found");
    // In other numbers other products, beside which it keeps what it has.
    let told = bench.go_on(0, OWN, "run", &["--max-steps", "4", "--precision", "tf32"]);
    assert!(told.contains("tuned   5 products: 5 own in "), "{told}");
    let both = fs::read_to_string(&path).unwrap();
    assert_eq!((both.matches(", f32, ").count(), both.matches(", tf32, ").count()), (5, 5));
    // Both remedies.
    fs::remove_file(&path).unwrap();
    let told = bench.go_on(0, &fewer, "run", &["--max-steps", "5", "--precision", "f32"]);
    assert!(told.contains("the run has no choices.toml: from here on"), "{told}");
    let cached = format!("{}: `cublaslt/1` is not available", bench.cached().display());
    assert!(told.contains(&cached) && told.contains("3 own, 2 cublaslt in "), "{told}");
    bench.folders = &["driver"];
    bench.go_on(0, CUBLASLT, "run", &["--max-steps", "6", "--vendor", "none"]);

    let model = bench.scratch.path("net.toml");
    let begin = ["--model", &model, "--device", "cpu", "--vendor", "tune"];
    let told = bench.expect(2, CUBLASLT, &[&begin[..], &SMALL].concat());
    assert!(told.contains("--vendor tune multiplies on GPUs"), "{told}");
}

#[test]
fn convolutions_may_be_cudnns() {
    let Some(mut bench) = Bench::new("convolutions") else { return };
    let conv = "{ conv = { name = \"conv1\", filters = 8, window = 3, pad = 1 } },\n  { linear";
    fs::write(bench.scratch.0.join("net.toml"), MODEL.replacen("{ linear", conv, 1)).unwrap();
    bench.folders = &["driver", "cudnn"];
    let told = bench.begin("clock=1 cudnn_failing_call=1", "without", &TUNE_TWO);
    assert!(told.contains("tuning  cuDNN cannot be used: "), "{told}");
    assert!(told.contains(", with no library\n"), "{told}");
    let clock = "clock=1 each=10 conv_forward_small=99 cudnn1=20";
    bench.begin(clock, "whole", &TUNE);
    bench.begin(clock, "run", &TUNE_TWO);
    let choices = bench.choices("run");
    assert!(choices.contains("libraries = \"cuDNN 9.19.0\""), "{choices}");
    let chosen = "padding 1 1, groups 1, f32, room 128\"]\nway = \"cudnn/1\"";
    assert!(choices.contains("[work.\"conv_forward 4 x 8 x 8 x 3 to 8 x 8 x 8, window 3 x 3, "));
    assert_eq!(choices.matches("way = \"cudnn/1\"").count(), 1, "{choices}");
    assert!(choices.contains(chosen), "{choices}");
    bench.cache = "another cache";
    bench.go_on(0, OWN, "run", &FOUR);
    assert!(bench.weights("run") == bench.weights("whole"));
    if tensor::cudnn::Cudnn::find().is_err() {
        bench.folders = &["driver"];
        let told = bench.go_on(6, OWN, "run", &["--max-steps", "6"]);
        assert!(told.contains("choices.toml: cuDNN cannot be used: "), "{told}");
    }
}

/// Two GPUs of a process, or of two, work in the ways that the first of them found.
#[test]
fn gpus_that_share_work_have_the_same_ways() {
    let Some(mut bench) = Bench::new("shared") else { return };
    bench.folders = &["driver", "cublaslt", "nccl"];
    let shared = ["--parallel", "data", "--micro-shards", "2"];
    let two = |clock: &str| format!("devices=2 {clock}");
    let one = bench.begin(&two(CUBLASLT), "one", &[&TUNE_TWO[..], &shared].concat());
    assert!(one.contains("3 own, 2 cublaslt in "), "{one}");
    bench.cache = "another cache";
    let (model, path) = (bench.scratch.path("net.toml"), bench.scratch.path("two"));
    let fixed = ["--model", &model, "--run", &path, "--precision", "f32"];
    let gpus = ["--device", "cuda:0,cuda:1"];
    let begin = [&fixed[..], &SMALL, &TUNE_TWO, &shared, &gpus].concat();
    let told = bench.expect(0, &two(CUBLASLT), &begin);
    assert!(told.contains("3 own, 2 cublaslt in "), "{told}");
    assert!(bench.weights("two") == bench.weights("one"));

    bench.cache = "a third cache";
    let path = bench.scratch.path("ranks");
    let fixed = ["--model", &model, "--run", &path, "--precision", "f32"];
    let begin = [&fixed[..], &SMALL, &TUNE_TWO, &shared].concat();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    // By the second's clock other ways were faster.
    let started: Vec<_> = [(0, CUBLASLT), (1, OWN)]
        .into_iter()
        .map(|(rank, clock)| {
            let mut command = bench.command(&two(clock), &begin);
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
    assert!(bench.weights("ranks") == bench.weights("one"));
    let choices = bench.choices("ranks");
    assert_eq!(choices.matches("way = \"cublaslt/1\"").count(), 2, "{choices}");
}
