//! The CUDA compiler, in one pinned version.

use crate::cargo;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of nvcc; others compile to different bytes.
const VERSION: &str = "V13.0.88";

/// All packages are listed with a version: their own dependencies are not pinned and would install
/// parts of 13.5.
const COMPILER: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];
/// Not published for 13.0; 13.2 reads the files of 13.0.
const DISASSEMBLER: [&str; 2] = ["nvidia-cuda-cuobjdump==13.2.51", "nvidia-cuda-nvdisasm==13.2.51"];

/// Machine code for each GPU architecture, and PTX of the oldest and the newest one.
const FLAGS: &str = "-fatbin -O3 -std=c++17 --compress-mode=size -Werror all-warnings -Xptxas -v
    -gencode arch=compute_75,code=[sm_75,compute_75]
    -gencode arch=compute_80,code=sm_80
    -gencode arch=compute_86,code=sm_86
    -gencode arch=compute_89,code=sm_89
    -gencode arch=compute_90,code=sm_90
    -gencode arch=compute_100,code=sm_100
    -gencode arch=compute_120,code=[sm_120,compute_120]
    --threads 2";

/// A compiler of the right version.
pub struct Toolkit {
    nvcc: PathBuf,
}

impl Toolkit {
    /// Finds nvcc in CUDA_HOME or on PATH, or installs it below `target/`.
    pub fn find() -> Result<Toolkit, String> {
        let home = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
        for nvcc in home.into_iter().chain([PathBuf::from("nvcc")]) {
            match version(&nvcc) {
                Some(version) if version.contains(VERSION) => return Ok(Toolkit { nvcc }),
                Some(_) => {
                    println!("{} is not the pinned version {VERSION}", nvcc.display())
                }
                None => {}
            }
        }
        Ok(Toolkit { nvcc: environment(&COMPILER)?.join("bin/nvcc") })
    }

    /// Compiles one file; returns the output of ptxas.
    pub fn compile(&self, source: &Path, headers: &Path, output: &Path) -> Result<String, String> {
        let mut nvcc = Command::new(&self.nvcc);
        nvcc.args(FLAGS.split_whitespace())
            .arg("-I")
            .arg(headers)
            .arg("-o")
            .arg(output)
            .arg(source);
        let done = nvcc.output().map_err(|error| format!("nvcc did not start: {error}"))?;
        let log = String::from_utf8_lossy(&done.stderr).into_owned()
            + &String::from_utf8_lossy(&done.stdout);
        if done.status.success() { Ok(log) } else { Err(format!("{}:\n{log}", source.display())) }
    }

    /// The instructions for sm_90 (H100, H200).
    pub fn sass(&self, fatbin: &Path) -> Result<String, String> {
        let bin = environment(&DISASSEMBLER)?.join("bin");
        let path = env::join_paths(
            [bin.clone()]
                .into_iter()
                .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
        );
        let mut dump = Command::new(bin.join("cuobjdump"));
        dump.args(["--dump-sass", "--gpu-architecture", "sm_90"]).arg(fatbin);
        dump.env("PATH", path.unwrap_or_default());
        let done = dump.output().map_err(|error| format!("cuobjdump did not start: {error}"))?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

fn version(nvcc: &Path) -> Option<String> {
    let done = Command::new(nvcc).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A Python environment with these packages, installed if necessary.
fn environment(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = cargo::target().join("cuda-toolkit-13.0");
    let run = |program: &Path, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).output();
        let done = done.map_err(|error| format!("{} did not start: {error}", program.display()))?;
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_string())
        } else {
            Err(format!(
                "{} {}:\n{}",
                program.display(),
                arguments.join(" "),
                String::from_utf8_lossy(&done.stderr)
            ))
        }
    };
    let python = folder.join("bin/python");
    if !python.exists() {
        println!("installing nvcc {VERSION} into {}", folder.display());
        run(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()])?;
    }
    // Fast if everything is installed.
    let pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"];
    run(&python, &[&pip, packages].concat())?;
    let query = "import sysconfig; print(sysconfig.get_path('purelib'))";
    Ok(Path::new(&run(&python, &["-c", query])?).join("nvidia/cu13"))
}
