//! Becoming the program.

use crate::cargo;
use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

/// Builds `alexnet` and turns this process into it.
///
/// It is not a child: Ctrl-C, exit codes and the terminal belong to the trainer alone. A parent
/// that died of Ctrl-C would leave a trainer behind that is still saving.
pub fn become_it(word: &OsStr, rest: &[OsString]) -> ExitCode {
    if let Err(code) = cargo::build_release("alexnet-trainer") {
        return code;
    }
    let program = cargo::target().join("release").join("alexnet");
    let mut alexnet = Command::new(&program);
    alexnet.arg(word).args(rest);
    exec(alexnet)
}

/// Replaces this process; returns only if that fails.
#[cfg(unix)]
pub fn exec(mut program: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    eprintln!("xtask: {} did not start: {error}", program.get_program().display());
    ExitCode::FAILURE
}

/// Where a process cannot be replaced, waits for a child.
#[cfg(not(unix))]
pub fn exec(mut program: Command) -> ExitCode {
    match program.status() {
        Ok(status) => cargo::code(status),
        Err(error) => {
            eprintln!("xtask: {} did not start: {error}", program.get_program().display());
            ExitCode::FAILURE
        }
    }
}
