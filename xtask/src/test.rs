//! `cargo xtask test`: all checks that a change must pass.

use crate::{cargo, package, python, tidy};
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A check by cargo: its name, the arguments of cargo and an environment variable.
struct Check {
    name: &'static str,
    cargo: &'static str,
    env: Option<(&'static str, &'static str)>,
}

const fn check(name: &'static str, cargo: &'static str) -> Check {
    Check { name, cargo, env: None }
}

const fn long(name: &'static str, cargo: &'static str) -> Check {
    Check { name, cargo, env: Some(("ALEXNET_LONG", "1")) }
}

const BEFORE_TIDY: &[Check] = &[
    check("format", "fmt --all --check"),
    check(
        "lints",
        "clippy --workspace --features alexnet/full --all-targets --locked -- -D warnings",
    ),
    Check {
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
        ..check("docs", "doc --workspace --features alexnet/full --no-deps --locked")
    },
];
const AFTER_TIDY: &[Check] = &[check("tests", "test --workspace --features alexnet/full --locked")];
/// Ranks under mpirun. Needs Open MPI, and libclang because the build generates its bindings. The
/// whole workspace is selected so that cargo reuses the crates that are already built.
const MPI: &[Check] = &[
    check(
        "mpi lints",
        "clippy --workspace --features alexnet/full,alexnet-comm/mpi,alexnet-trainer/mpi \
         --all-targets --locked -- -D warnings",
    ),
    check("mpi", MPI_TESTS),
];
const MPI_TESTS: &str = "test --workspace --features \
    alexnet/full,alexnet-comm/mpi,alexnet-trainer/mpi --test mpi --locked";
/// Kills ten processes at different moments.
const MPI_LONG: &[Check] = &[long("mpi long", MPI_TESTS)];
/// The ordinary tests take a sample of these: all random cases of every op, every resume point, a
/// hundred kills, disks full at sixteen sizes, the whole of alexnet-64 on a GPU, every protocol,
/// exports of every model. The checks print their counts: of ops, the cases of each test on a GPU.
const LONG: &[Check] = &[
    long("ops", "test -p alexnet-kernels --locked"),
    long("resume", "test -p alexnet-train --locked -- --nocapture"),
    long(
        "program",
        "test -p alexnet-trainer --test resume --test reproduce --test exported --locked -- \
         --nocapture",
    ),
];

/// Runs the checks, cheapest first, and stops at the first failure; `--long` adds the long tests.
pub fn run(arguments: &[OsString]) -> Result<(), ExitCode> {
    let is_long = match arguments {
        [] => false,
        [flag] if flag == "--long" => true,
        _ => {
            eprintln!("xtask: `test` takes no argument but --long");
            return Err(ExitCode::from(2));
        }
    };
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for check in BEFORE_TIDY {
        run_check(check, &mut done)?;
    }
    run_task("tidy", "cargo xtask tidy", tidy::run, &mut done)?;
    run_task("packages", "cargo package, of every published crate", package::write, &mut done)?;
    let long = if is_long { LONG } else { &[] };
    let has_mpi = ["mpirun", "mpicc"].iter().all(|tool| is_installed(tool));
    let mpi = if has_mpi { MPI } else { &[] };
    let mpi_long = if is_long && has_mpi { MPI_LONG } else { &[] };
    for check in AFTER_TIDY.iter().chain(mpi).chain(long).chain(mpi_long) {
        run_check(check, &mut done)?;
    }
    if is_long {
        let shown = "cargo test, in a project that has only the packages";
        run_task("outside", shown, package::test, &mut done)?;
    }
    println!();
    if !has_mpi {
        println!("xtask test: mpi SKIPPED: no mpirun and mpicc (libopenmpi-dev, libclang-dev)");
    }
    for (what, remedy) in python::missing() {
        println!("xtask test: exported files in {what} SKIPPED: not installed ({remedy})");
    }
    let total: Duration = done.iter().map(|(_, took)| *took).sum();
    for (name, took) in done.into_iter().chain([("all", total)]) {
        println!("xtask test: {name:<9} passed {:6.1} s", took.as_secs_f64());
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn run_check(check: &Check, done: &mut Vec<(&'static str, Duration)>) -> Result<(), ExitCode> {
    let prefix = check.env.map(|(key, value)| format!("{key}='{value}' ")).unwrap_or_default();
    println!("\n$ {prefix}cargo {}", check.cargo);
    let start = Instant::now();
    let mut cargo = cargo::command();
    cargo.args(check.cargo.split_whitespace()).envs(check.env).current_dir(cargo::root());
    cargo::run(&mut cargo).inspect_err(|_| report_failure(check.name))?;
    done.push((check.name, start.elapsed()));
    Ok(())
}

fn run_task(
    name: &'static str,
    shown: &str,
    task: fn() -> Result<(), ExitCode>,
    done: &mut Vec<(&'static str, Duration)>,
) -> Result<(), ExitCode> {
    println!("\n$ {shown}");
    let start = Instant::now();
    task().inspect_err(|_| report_failure(name))?;
    done.push((name, start.elapsed()));
    Ok(())
}

fn report_failure(name: &str) {
    eprintln!("\nxtask test: {name} failed; the checks after it did not run");
}
