//! `cargo xtask python`: a virtual environment with the programs that exported files are tested in.

use crate::cargo;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::slice;
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
const TORCH: &[&str] = &["torch==2.15.0", "torchvision==0.29.2", "scipy==1.17.1", "tqdm==4.67.1"];

/// The package of the perceptual distance. It works with any PyTorch, and goes without what it
/// depends on into a folder of its own, for Debian's Python, too.
const LPIPS: &str = "lpips==0.1.4";

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
    let python = folder.join("bin/python");
    let is_made = packages.iter().all(|package| made.lines().any(|line| line == *package));
    if is_made && has(&python, &modules(&packages)) && folder.join("lpips").exists() {
        println!("{}: it has all packages", folder.display());
        return Ok(());
    }
    let is_new = !folder.exists();
    if let Err(reason) = make(&folder, &packages) {
        let is_required = env::var_os("ALEXNET_REQUIRE_PYTHON").is_some_and(|value| value == "1");
        // What was there before may still work.
        let _ = if is_new { fs::remove_dir_all(&folder) } else { fs::remove_file(&stamp) };
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
    let pip = || {
        let mut pip = Command::new(folder.join("bin/python"));
        let quiet = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"];
        pip.args(quiet).args(["--only-binary", ":all:"]);
        pip
    };
    command(pip().args(packages))?;
    command(pip().args(["--no-deps", "--upgrade", "--target"]).arg(folder.join("lpips")).arg(LPIPS))
}

/// The modules of packages, as they are imported: `numpy, onnx`.
fn modules(packages: &[&str]) -> String {
    let module = |package: &&str| match package.split("==").next().unwrap_or_default() {
        "pillow" => "PIL".to_string(),
        name => name.to_string(),
    };
    packages.iter().map(module).collect::<Vec<_>>().join(", ")
}

fn has(python: &Path, modules: &str) -> bool {
    let output = Command::new(python).args(["-c", &format!("import {modules}")]).output();
    output.is_ok_and(|output| output.status.success())
}

/// The programs that tests skip, as no Python has them, each with what installs it.
pub fn missing() -> Vec<(&'static str, &'static str)> {
    let named = env::var_os("ALEXNET_PYTHON").map(PathBuf::from);
    let own = named.unwrap_or_else(|| cargo::target().join("python/bin/python"));
    let debians = ["python3", "/usr/bin/python3"].map(PathBuf::from);
    let here = |what, modules| (what, modules, slice::from_ref(&own), "cargo xtask python");
    let torch = [&[own.clone()][..], &debians].concat();
    let remedy = "cargo xtask python --torch, or Debian's python3-torchvision";
    let distance = "cargo xtask python --torch, or Debian's python3-scipy and python3-tqdm";
    let all = [
        here("onnxruntime", "numpy, onnx, onnxruntime"),
        here("openvino", "openvino"),
        ("torch", "torch, torchvision", &torch[..], remedy),
        ("lpips", "torch, torchvision, scipy, tqdm", &torch[..], distance),
    ];
    let is_missing = |pythons: &[PathBuf], modules| !pythons.iter().any(|it| has(it, modules));
    all.into_iter()
        .filter(|(_, modules, pythons, _)| is_missing(pythons, modules))
        .map(|(what, _, _, remedy)| (what, remedy))
        .collect()
}

fn command(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed ({status})")),
        Err(error) => Err(format!("{program} did not start: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_imported_by_their_modules() {
        assert_eq!(modules(&["numpy==2.4.6", "pillow==13.0.0"]), "numpy, PIL");
        assert!(!has(Path::new("/no/such/python"), "sys"), "a dead environment");
    }
}
