//! Starting cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

/// The cargo that runs us.
pub fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_default().join(dir),
        None => root().join("target"),
    }
}

/// Builds `package` in release mode. Cargo's messages go to stderr, so stdout stays the program's.
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

/// A child's exit code as ours; a child that a signal ended counts as failed.
pub fn code(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The commit that is checked out, marked if files differ from it; for the ledger's lines.
pub fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["describe", "--always", "--dirty", "--exclude=*"]);
    let told = git.output().ok().filter(|told| told.status.success())?;
    Some(String::from_utf8(told.stdout).ok()?.trim().to_string())
}
