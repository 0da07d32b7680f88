//! `cargo xtask same-bits`: checks that two builds of the program train bit-identically.

use crate::cargo;
use crate::kernels::sha256;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
cargo xtask same-bits OLD [NEW] [--only TEXT]

  Trains small networks with two builds of the program and compares the SHA-256 of the weights and
  all values in metrics.jsonl except times. OLD and NEW are binaries; without NEW this checkout is
  built. Build OLD before a change, in a separate worktree:
  cargo build --release --package alexnet-trainer [--features mpi]
  --only TEXT   only the cases whose names contain TEXT
";

/// Arguments that several cases share.
const SHAPES: &str = "--model alexnet-64 --max-steps 200 --batch-size 32";
const CIFAR: &str = "--model cifar-18pct --data shapes --max-steps 50 --batch-size 64";
/// The run of the old build that both resume.
const UNFINISHED: &str = "--model alexnet-64 --max-steps 100 --batch-size 32";
const TOWERS: &str = "--model TWO_TOWERS --fake-data 64 --batch-size 8 --max-steps 50";

/// A small network of two towers; its path replaces `TWO_TOWERS` in the arguments.
const TWO_TOWERS: &str = r#"
name = "two-towers"
input = [32, 32, 3]
rows = [
  { conv = { name = "conv1", filters = 32, window = 5, pad = 2, stride = 2 } },
  { relu = {} },
  { lrn = { towers = 2 } },
  { conv = { name = "conv2", filters = 64, window = 3, pad = 1, groups = 2 } },
  { relu = {} },
  { pool = { window = 3, stride = 2 } },
  { linear = { name = "fc3", outputs = 64 } },
  { relu = {} },
  { dropout = { drop = 0.5 } },
  { linear = { name = "fc4", outputs = 10 } },
]
"#;

/// A run to compare: the launcher, the arguments and the requirements.
struct Case {
    name: &'static str,
    launcher: &'static str,
    arguments: String,
    needs: Needs,
}

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    /// A processor with bf16 instructions.
    Bf16,
    /// `mpirun` and builds with the feature `mpi`.
    Mpi,
    /// The CUDA emulation `cuda-on-cpu`, built by the tests.
    CudaOnCpu,
    /// An unfinished run of the old build, which both builds resume.
    UnfinishedRun,
}

fn cases() -> Vec<Case> {
    let case = |name, arguments: &[&str], needs| Case {
        name,
        launcher: "",
        arguments: arguments.join(" "),
        needs,
    };
    let launched =
        |name, launcher, arguments: &[&str]| Case { launcher, ..case(name, arguments, Needs::Mpi) };
    vec![
        case("shapes, 1 thread", &[SHAPES, "--threads 1"], Needs::Nothing),
        case("shapes, 2 threads", &[SHAPES, "--threads 2"], Needs::Nothing),
        case("shapes, bf16", &[SHAPES, "--precision bf16"], Needs::Bf16),
        case("cifar-18pct, augmented", &[CIFAR], Needs::Nothing),
        case("Adam", &[CIFAR, "--set recipe.optimizer=adam --lr 0.001"], Needs::Nothing),
        case("micro-shards", &[CIFAR, "--micro-shards 4"], Needs::Nothing),
        case("data, two devices", &[CIFAR, "--parallel data --device cpu,cpu"], Needs::Nothing),
        case(
            "towers, two devices",
            &[TOWERS, "--parallel towers --device cpu,cpu"],
            Needs::Nothing,
        ),
        case("hybrid, two devices", &[CIFAR, "--parallel hybrid --device cpu,cpu"], Needs::Nothing),
        launched("data, 2 processes", "mpirun -np 2", &[CIFAR, "--parallel data"]),
        launched("data, 4 processes", "mpirun -np 4", &[CIFAR, "--parallel data"]),
        launched("hybrid, 2 processes", "mpirun -np 2", &[CIFAR, "--parallel hybrid"]),
        case(
            "resumed from a checkpoint of the old build",
            &["--max-steps 200"],
            Needs::UnfinishedRun,
        ),
        case(
            "steps on cuda-on-cpu",
            &["--model alexnet-64 --fake-data 32 --batch-size 4 --max-steps 3 --device cuda"],
            Needs::CudaOnCpu,
        ),
    ]
}

/// Runs the command.
pub fn run(rest: &[OsString]) -> Result<(), ExitCode> {
    let mut arguments = rest.iter().map(|argument| argument.to_string_lossy().to_string());
    let (mut programs, mut only) = (Vec::new(), String::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "help" | "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            "--only" => only = arguments.next().unwrap_or_default(),
            _ => programs.push(PathBuf::from(argument)),
        }
    }
    let (old, new) = match &programs[..] {
        [old] => {
            cargo::build_release("alexnet-trainer")?;
            (old.clone(), cargo::target().join("release/alexnet"))
        }
        [old, new] => (old.clone(), new.clone()),
        _ => {
            eprint!("{HELP}");
            return Err(ExitCode::from(2));
        }
    };
    match compare(&old, &new, &only) {
        Ok(0) => Ok(()),
        Ok(count) => Err(cargo::failed("same-bits", format!("{count} cases differ"))),
        Err(message) => Err(cargo::failed("same-bits", message)),
    }
}

/// Runs every case with both builds; returns how many differ.
fn compare(old: &Path, new: &Path, only: &str) -> Result<usize, String> {
    let scratch = env::temp_dir().join(format!("alexnet-same-bits-{}", std::process::id()));
    let mut different = 0;
    for case in cases().iter().filter(|case| case.name.contains(only)) {
        let result = match run_both(case, [old, new], &scratch)? {
            Ok([a, b]) if a == b => {
                format!("same       {}  {} lines", &a.weights[..16], a.lines.len())
            }
            Ok([a, b]) => {
                different += 1;
                let line = a.lines.iter().zip(&b.lines).find(|(a, b)| a != b);
                let line = line.map_or(String::new(), |(a, b)| format!("\n  {a}\n  {b}"));
                format!("DIFFERENT  {}  {}{line}", &a.weights[..16], &b.weights[..16])
            }
            Err(why) => format!("SKIPPED    {why}"),
        };
        println!("{:<44}  {result}", case.name);
        let _ = fs::remove_dir_all(&scratch);
    }
    Ok(different)
}

/// The results of a run that must be equal.
#[derive(PartialEq)]
struct Outcome {
    /// SHA-256 of the weights.
    weights: String,
    /// Lines of `metrics.jsonl` without times.
    lines: Vec<String>,
}

/// The outcomes of both builds, or the reason why the case cannot run here.
fn run_both(
    case: &Case,
    [old, new]: [&Path; 2],
    scratch: &Path,
) -> Result<Result<[Outcome; 2], String>, String> {
    let driver = driver();
    if case.needs == Needs::CudaOnCpu && driver.is_none() {
        return Ok(
            Err("cuda-on-cpu is missing; the tests of alexnet-kernels build it".to_string()),
        );
    }
    let mut outcomes = Vec::new();
    let model = scratch.join("two-towers.toml");
    let written = fs::create_dir_all(scratch).and_then(|()| fs::write(&model, TWO_TOWERS));
    written.map_err(|error| format!("{}: {error}", model.display()))?;
    let arguments = case.arguments.replace("TWO_TOWERS", &model.display().to_string());
    for (name, program) in [("old", old), ("new", new)] {
        let run = scratch.join(name);
        if case.needs == Needs::UnfinishedRun {
            train(old, "", UNFINISHED, "--run", &run, None)?;
        }
        let flag = if case.needs == Needs::UnfinishedRun { "--resume" } else { "--run" };
        let driver = driver.as_deref().filter(|_| case.needs == Needs::CudaOnCpu);
        match train(program, case.launcher, &arguments, flag, &run, driver) {
            Ok(()) => outcomes.push(outcome(&run)?),
            Err(why) if matches!(case.needs, Needs::Bf16 | Needs::Mpi) => return Ok(Err(why)),
            Err(why) => return Err(format!("{}: {}: {why}", case.name, program.display())),
        }
    }
    outcomes.try_into().map(Ok).map_err(|_| unreachable!("two programs have run"))
}

/// Trains; the error is the program's message on stderr.
fn train(
    program: &Path,
    launcher: &str,
    arguments: &str,
    flag: &str,
    run: &Path,
    driver: Option<&Path>,
) -> Result<(), String> {
    let program = fs::canonicalize(program).map_err(|error| error.to_string())?;
    let mut launcher = launcher.split_whitespace();
    let mut command = match launcher.next() {
        None => Command::new(&program),
        Some(first) => {
            let mut command = Command::new(first);
            command.args(launcher).args(["--oversubscribe", "--allow-run-as-root"]).arg(&program);
            command
        }
    };
    command.arg("train").args(arguments.split_whitespace()).arg(flag).arg(run);
    command.args(["--progress", "none"]).stdin(Stdio::null());
    if let Some(driver) = driver {
        command.env("LD_LIBRARY_PATH", driver);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim_end().to_string();
    Err(text.lines().find(|line| line.starts_with("alexnet: ")).unwrap_or(&text).to_string())
}

fn outcome(run: &Path) -> Result<Outcome, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", run.display());
    let weights = fs::read(run.join("weights.safetensors")).map_err(failed)?;
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).map_err(failed)?;
    let lines = metrics.lines().map(without_times).collect();
    Ok(Outcome { weights: sha256::hex(&weights), lines })
}

/// A line of metrics without its times.
fn without_times(line: &str) -> String {
    let is_time = |part: &&str| {
        ["images_per_s", "data_wait", "seconds"]
            .iter()
            .any(|key| part.contains(&format!("\"{key}\"")))
    };
    line.split(',').filter(|part| !is_time(part)).collect::<Vec<_>>().join(",")
}

/// A folder with cuda-on-cpu's largest library as `libcuda.so.1`.
fn driver() -> Option<PathBuf> {
    let entries = fs::read_dir(cargo::target().join("cuda-on-cpu")).ok()?;
    let libraries = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name().to_string_lossy().to_string();
        name.starts_with("libcuda-") && name.ends_with(".so")
    });
    let largest = libraries.max_by_key(|entry| entry.metadata().map_or(0, |about| about.len()))?;
    let folder = env::temp_dir().join(format!("alexnet-same-bits-driver-{}", std::process::id()));
    fs::create_dir_all(&folder).ok()?;
    let link = folder.join("libcuda.so.1");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(largest.path(), &link).ok()?;
    Some(folder)
}
