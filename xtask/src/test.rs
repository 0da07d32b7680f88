//! `cargo xtask test`: all checks that a change must pass.

use crate::{cargo, tidy};
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A check by cargo: its name, the arguments of cargo and an environment variable.
struct Check {
    name: &'static str,
    cargo: &'static [&'static str],
    env: Option<(&'static str, &'static str)>,
}

const BEFORE_TIDY: &[Check] = &[
    Check { name: "format", cargo: &["fmt", "--all", "--check"], env: None },
    Check {
        name: "lints",
        cargo: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        env: None,
    },
    Check {
        name: "docs",
        cargo: &["doc", "--workspace", "--no-deps", "--locked"],
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
    },
];
const AFTER_TIDY: &[Check] =
    &[Check { name: "tests", cargo: &["test", "--workspace", "--locked"], env: None }];
/// Ranks under mpirun. Needs Open MPI, and libclang because the build generates its bindings. The
/// whole workspace is selected so that cargo reuses the crates that are already built.
const MPI: &[Check] = &[
    Check {
        name: "mpi lints",
        cargo: &[
            "clippy",
            "--workspace",
            "--features",
            "alexnet-comm/mpi,alexnet-trainer/mpi",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        env: None,
    },
    Check { name: "mpi", cargo: MPI_TESTS, env: None },
];
const MPI_TESTS: &[&str] = &[
    "test",
    "--workspace",
    "--features",
    "alexnet-comm/mpi,alexnet-trainer/mpi",
    "--test",
    "mpi",
    "--locked",
];
/// Kills ten processes at different moments.
const MPI_LONG: &[Check] =
    &[Check { name: "mpi long", cargo: MPI_TESTS, env: Some(("ALEXNET_LONG", "1")) }];
/// The ordinary tests take a sample of these: every resume point, a hundred kills, disks full at
/// sixteen sizes. Each test prints its count.
const LONG: &[Check] = &[
    Check {
        name: "resume",
        cargo: &["test", "-p", "alexnet-train", "--locked", "--", "--nocapture"],
        env: Some(("ALEXNET_LONG", "1")),
    },
    Check {
        name: "program",
        cargo: &[
            "test",
            "-p",
            "alexnet-trainer",
            "--test",
            "resume",
            "--locked",
            "--",
            "--nocapture",
        ],
        env: Some(("ALEXNET_LONG", "1")),
    },
];

/// Runs the checks, cheapest first, and stops at the first failure; `--long` adds the long tests.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let is_long = match arguments {
        [] => false,
        [flag] if flag == "--long" => true,
        _ => {
            eprintln!("xtask: `test` takes no argument but --long");
            return ExitCode::from(2);
        }
    };
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for check in BEFORE_TIDY {
        if let Err(code) = run_check(check, &mut done) {
            return code;
        }
    }
    println!("\n$ cargo xtask tidy");
    let start = Instant::now();
    if tidy::run() != ExitCode::SUCCESS {
        return failed("tidy", 1);
    }
    done.push(("tidy", start.elapsed()));
    let long = if is_long { LONG } else { &[] };
    let has_mpi = ["mpirun", "mpicc"].iter().all(|tool| is_installed(tool));
    let mpi = if has_mpi { MPI } else { &[] };
    let mpi_long = if is_long && has_mpi { MPI_LONG } else { &[] };
    for check in AFTER_TIDY.iter().chain(mpi).chain(long).chain(mpi_long) {
        if let Err(code) = run_check(check, &mut done) {
            return code;
        }
    }
    println!();
    if !has_mpi {
        println!("xtask test: mpi SKIPPED: no mpirun and mpicc (libopenmpi-dev, libclang-dev)");
    }
    let total: Duration = done.iter().map(|(_, took)| *took).sum();
    for (name, took) in done.into_iter().chain([("all", total)]) {
        println!("xtask test: {name:<9} passed {:6.1} s", took.as_secs_f64());
    }
    ExitCode::SUCCESS
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn run_check(check: &Check, done: &mut Vec<(&'static str, Duration)>) -> Result<(), ExitCode> {
    let prefix = check.env.map(|(key, value)| format!("{key}='{value}' ")).unwrap_or_default();
    println!("\n$ {prefix}cargo {}", check.cargo.join(" "));
    let start = Instant::now();
    let mut cargo = cargo::command();
    cargo.args(check.cargo).envs(check.env).current_dir(cargo::root());
    match cargo.status() {
        Ok(status) if status.success() => {
            done.push((check.name, start.elapsed()));
            Ok(())
        }
        Ok(status) => Err(failed(check.name, status.code().unwrap_or(1))),
        Err(error) => {
            eprintln!("xtask: cargo did not start: {error}");
            Err(ExitCode::FAILURE)
        }
    }
}

fn failed(name: &str, code: i32) -> ExitCode {
    eprintln!("\nxtask test: {name} failed with exit code {code}; the checks after it did not run");
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
