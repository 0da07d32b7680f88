//! `cargo xtask gpu-check`: builds a folder that tests a GPU on any machine.

use crate::{alexnet, cargo};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask gpu-check [--build] [ARGUMENTS...]

  Builds target/gpu-check: the programs gpu-check and alexnet, and the tests that use a GPU. Then
  runs gpu-check with ARGUMENTS (see --help). Without a GPU it lists the checks that could not run:
  copy the folder to a machine with a GPU and run ./gpu-check there. Neither cargo nor the CUDA
  toolkit is needed there.
  --build   only builds the folder
  --quick   the first look at a GPU, within fifteen minutes; with --python FILE also at PyTorch
";

/// Test programs: the name in the folder and the arguments for `cargo test`.
const TESTS: &[(&str, &[&str])] = &[
    ("kernels", &["-p", "alexnet-kernels", "--lib"]),
    ("network", &["-p", "alexnet-layers", "--test", "network"]),
    ("train", &["-p", "alexnet-train", "--test", "cuda"]),
    ("allocations", &["-p", "alexnet-train", "--test", "cuda_allocations"]),
];

/// Runs the command.
pub fn run(rest: &[OsString]) -> Result<(), ExitCode> {
    if rest.first().is_some_and(|first| first == "help") {
        print!("{HELP}");
        return Ok(());
    }
    let folder = cargo::target().join("gpu-check");
    build(&folder).map_err(|message| cargo::failed("gpu-check", message))?;
    if rest.iter().any(|argument| argument == "--build") {
        return Ok(());
    }
    let mut check = Command::new(folder.join("gpu-check"));
    check.args(rest);
    alexnet::exec(check)
}

/// Removes the folder and builds it again.
fn build(folder: &Path) -> Result<(), String> {
    for package in ["alexnet-gpu-check", "alexnet-trainer"] {
        cargo::build_release(package).map_err(|_| format!("{package} does not build"))?;
    }
    let _ = fs::remove_dir_all(folder);
    let tests = folder.join("tests");
    fs::create_dir_all(&tests).map_err(|error| format!("{}: {error}", tests.display()))?;
    let release = cargo::target().join("release");
    for name in ["gpu-check", "alexnet"] {
        put(&release.join(name), &folder.join(name))?;
    }
    for (name, selected) in TESTS {
        put(&test_program(selected)?, &tests.join(name))?;
    }
    if let Some(commit) = cargo::commit() {
        let path = folder.join("commit");
        fs::write(&path, commit).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("{} is complete", folder.display());
    Ok(())
}

/// Builds a test program; returns its path.
fn test_program(selected: &[&str]) -> Result<PathBuf, String> {
    let mut build = cargo::command();
    build.current_dir(cargo::root()).args(["test", "--no-run", "--locked"]).args(selected);
    build.arg("--message-format=json").stderr(std::process::Stdio::inherit());
    let done = build.output().map_err(|error| format!("cargo did not start: {error}"))?;
    match executable(&String::from_utf8_lossy(&done.stdout)).filter(|_| done.status.success()) {
        Some(path) => Ok(path),
        None => Err(format!("cargo test --no-run {} built no program", selected.join(" "))),
    }
}

/// The last executable in cargo's messages, one JSON object per line.
fn executable(messages: &str) -> Option<PathBuf> {
    const KEY: &str = "\"executable\":\"";
    let mut named = messages.lines().filter_map(|line| line.split_once(KEY)?.1.split('"').next());
    named.next_back().map(PathBuf::from)
}

/// Copies a program, without debug information if `strip` is installed.
fn put(from: &Path, to: &Path) -> Result<(), String> {
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).arg(to).arg(from);
    if strip.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_executable_is_used() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"executable\":\"/t/debug/deps/kernels-1\",\"fresh\":true}\n\
                    {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).unwrap(), Path::new("/t/debug/deps/kernels-1"));
        assert_eq!(executable("{}"), None);
    }
}
