//! Starting cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The cargo that started xtask.
pub fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The repository's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository")
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_default().join(dir),
        None => root().join("target"),
    }
}

/// Builds `package` in release mode. Cargo writes to stderr, so stdout contains only the program's
/// output.
pub fn build_release(package: &str) -> Result<(), ExitCode> {
    let manifest = root().join("Cargo.toml");
    let mut build = command();
    build.args(["build", "--release", "--locked", "--package", package, "--manifest-path"]);
    run(build.arg(manifest))
}

/// Runs a program and waits for it.
///
/// # Errors
/// The program's exit code, unless it is 0; 1 if a signal ended it or it did not start, which is
/// printed.
pub fn run(program: &mut Command) -> Result<(), ExitCode> {
    match program.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Err(ExitCode::from(code.unwrap_or(1)))
        }
        Err(error) => {
            eprintln!("xtask: {} did not start: {error}", program.get_program().display());
            Err(ExitCode::FAILURE)
        }
    }
}

/// Prints why a task failed, and returns its exit code.
pub fn failed(task: &str, message: impl std::fmt::Display) -> ExitCode {
    eprintln!("xtask {task}: {message}");
    ExitCode::FAILURE
}

/// The commit that is checked out, marked `-dirty` if files differ from it.
pub fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["describe", "--always", "--dirty", "--exclude=*"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
