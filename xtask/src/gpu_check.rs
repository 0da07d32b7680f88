//! `cargo xtask gpu-check`: a folder that checks a GPU, on any machine that has one.

use crate::{alexnet, cargo};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask gpu-check [--build] [WORDS...]

  Builds target/gpu-check: the program gpu-check, alexnet, and the tests that have a GPU's part.
  Then runs gpu-check with WORDS (--help tells its own). Where there is no GPU it says what waits:
  copy the folder to a machine that has one, and run ./gpu-check there. No cargo is needed, no
  toolkit.
  --build   only builds the folder
";

/// Test programs: their name in the folder, and what cargo is told.
const TESTS: &[(&str, &[&str])] = &[
    ("kernels", &["-p", "alexnet-kernels", "--lib"]),
    ("network", &["-p", "alexnet-layers", "--test", "network"]),
    ("train", &["-p", "alexnet-train", "--test", "cuda"]),
    ("allocations", &["-p", "alexnet-train", "--test", "cuda_allocations"]),
];

/// Runs the command.
pub fn run(rest: &[OsString]) -> ExitCode {
    if rest.first().is_some_and(|word| word == "help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let folder = cargo::target().join("gpu-check");
    if let Err(sentence) = build(&folder) {
        eprintln!("xtask gpu-check: {sentence}");
        return ExitCode::FAILURE;
    }
    if rest.iter().any(|word| word == "--build") {
        return ExitCode::SUCCESS;
    }
    let mut check = Command::new(folder.join("gpu-check"));
    check.args(rest);
    alexnet::exec(check)
}

/// Fills the folder anew.
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
    println!("{} is ready to be copied", folder.display());
    Ok(())
}

/// Builds a test program and says where it is.
fn test_program(selected: &[&str]) -> Result<PathBuf, String> {
    let mut build = cargo::command();
    build.current_dir(cargo::root()).args(["test", "--no-run", "--locked"]).args(selected);
    build.arg("--message-format=json").stderr(std::process::Stdio::inherit());
    let done = build.output().map_err(|error| format!("cargo did not start: {error}"))?;
    let told = String::from_utf8_lossy(&done.stdout);
    match executable(&told).filter(|_| done.status.success()) {
        Some(path) => Ok(path),
        None => Err(format!("cargo test --no-run {} gave no program", selected.join(" "))),
    }
}

/// The last program that cargo's messages, a line of JSON each, name.
fn executable(told: &str) -> Option<PathBuf> {
    const KEY: &str = "\"executable\":\"";
    let mut named = told.lines().filter_map(|line| line.split_once(KEY)?.1.split('"').next());
    named.next_back().map(PathBuf::from)
}

/// Copies a program without what only a debugger reads, where `strip` is there to take it out.
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
    fn the_last_program_is_the_one() {
        let told = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"executable\":\"/t/debug/deps/kernels-1\",\"fresh\":true}\n\
                    {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(told).unwrap(), Path::new("/t/debug/deps/kernels-1"));
        assert_eq!(executable("{}"), None);
    }
}
