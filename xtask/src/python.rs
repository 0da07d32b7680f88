//! `cargo xtask python`: a virtual environment with the programs that exported files are tested in.

use crate::cargo;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What the tests need, some 110 MB.
const NEEDED: &[&str] = &[
    "numpy==2.4.6",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "openvino==2026.4.1",
    "pillow==13.0.0",
    "safetensors==0.8.0",
];

/// What they use if it can be had: PyTorch without CUDA, which only its own index has.
const TORCH: &[&str] = &["torch==2.15.0", "torchvision"];
const TORCH_INDEX: &str = "https://download.pytorch.org/whl/cpu";

/// Makes `target/python`, unless it is there with these packages. Where packages cannot be
/// installed, that is printed, and an error only with `ALEXNET_REQUIRE_PYTHON=1`.
pub fn run(arguments: &[OsString]) -> Result<(), ExitCode> {
    if !arguments.is_empty() {
        return Err(cargo::failed("python", "it takes no arguments"));
    }
    let (start, folder) = (Instant::now(), cargo::target().join("python"));
    let (stamp, wanted) = (folder.join("packages.txt"), [NEEDED, TORCH].concat().join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        println!("{}: it has all packages", folder.display());
        return Ok(());
    }
    if let Err(reason) = make(&folder) {
        let is_required = env::var_os("ALEXNET_REQUIRE_PYTHON").is_some_and(|value| value == "1");
        let _ = fs::remove_dir_all(&folder);
        if is_required {
            return Err(cargo::failed("python", reason));
        }
        println!("xtask python: SKIPPED, exported files are not tested elsewhere: {reason}");
        return Ok(());
    }
    let quick = ["--retries", "0", "--timeout", "15", "--index-url", TORCH_INDEX];
    let with_torch = install(&folder, &[&quick[..], TORCH].concat());
    match &with_torch {
        Ok(()) => fs::write(&stamp, wanted).map_err(|error| cargo::failed("python", error))?,
        Err(reason) => println!("xtask python: SKIPPED, without PyTorch and torchvision: {reason}"),
    }
    let folder = folder.display();
    println!("{folder}: made in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn make(folder: &Path) -> Result<(), String> {
    let mut python = Command::new("python3");
    command(python.args(["-m", "venv"]).arg(folder))?;
    install(folder, NEEDED)
}

/// Installs packages with the environment's pip.
fn install(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["--disable-pip-version-check", "install", "--quiet", "--only-binary", ":all:"]);
    command(pip.args(arguments))
}

fn command(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed ({status})")),
        Err(error) => Err(format!("{program} did not start: {error}")),
    }
}
