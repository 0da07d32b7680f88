//! Building and running `alexnet`.

use crate::cargo;
use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

/// Builds `alexnet` and replaces this process with it.
///
/// It does not run as a child process: a parent killed by Ctrl-C would leave the trainer running
/// in the background while it saves.
pub fn run(command: &OsStr, rest: &[OsString]) -> Result<(), ExitCode> {
    cargo::build_release("alexnet-trainer")?;
    let program = cargo::target().join("release").join("alexnet");
    let mut alexnet = Command::new(&program);
    alexnet.arg(command).args(rest);
    exec(alexnet)
}

/// Replaces this process; returns only if that fails.
#[cfg(unix)]
pub fn exec(mut program: Command) -> Result<(), ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    eprintln!("xtask: {} did not start: {error}", program.get_program().display());
    Err(ExitCode::FAILURE)
}

/// Runs a child and waits for it, where a process cannot be replaced.
#[cfg(not(unix))]
pub fn exec(mut program: Command) -> Result<(), ExitCode> {
    cargo::run(&mut program)
}
