//! Starting cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

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
    build.arg(manifest);
    match build.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(code(status)),
        Err(error) => {
            eprintln!("xtask: cargo did not start: {error}");
            Err(ExitCode::FAILURE)
        }
    }
}

/// The exit code of a child process; 1 if a signal ended it.
pub fn code(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The commit that is checked out, marked `-dirty` if files differ from it.
pub fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["describe", "--always", "--dirty", "--exclude=*"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
