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

/// What they also use, with `--torch`. Most registries have PyTorch with CUDA, some gigabytes; one
/// that has it without is configured in pip.
const TORCH: &[&str] = &["torch==2.15.0", "torchvision==0.29.2", "lpips==0.1.4"];

/// Makes `target/python`, unless it is there with these packages. Where packages cannot be
/// installed, that is printed, and an error only with `ALEXNET_REQUIRE_PYTHON=1`.
pub fn run(arguments: &[OsString]) -> Result<(), ExitCode> {
    let packages = match arguments {
        [] => NEEDED.to_vec(),
        [flag] if flag == "--torch" => [NEEDED, TORCH].concat(),
        _ => return Err(cargo::failed("python", "it takes no argument but --torch")),
    };
    let (start, folder) = (Instant::now(), cargo::target().join("python"));
    let stamp = folder.join("packages.txt");
    let made = fs::read_to_string(&stamp).unwrap_or_default();
    if packages.iter().all(|package| made.lines().any(|line| line == *package)) {
        println!("{}: it has all packages", folder.display());
        return Ok(());
    }
    if let Err(reason) = make(&folder, &packages) {
        let is_required = env::var_os("ALEXNET_REQUIRE_PYTHON").is_some_and(|value| value == "1");
        let _ = fs::remove_dir_all(&folder);
        if is_required {
            return Err(cargo::failed("python", reason));
        }
        println!("xtask python: SKIPPED, exported files are not tested elsewhere: {reason}");
        return Ok(());
    }
    fs::write(&stamp, packages.join("\n")).map_err(|error| cargo::failed("python", error))?;
    println!("{}: made in {:.0} s", folder.display(), start.elapsed().as_secs_f64());
    Ok(())
}

fn make(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let mut python = Command::new("python3");
    command(python.args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["--disable-pip-version-check", "install", "--quiet", "--only-binary", ":all:"]);
    command(pip.args(packages))
}

fn command(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed ({status})")),
        Err(error) => Err(format!("{program} did not start: {error}")),
    }
}
