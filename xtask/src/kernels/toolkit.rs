//! The CUDA compiler, in one pinned version.

use crate::cargo;
use std::env;
use std::ffi::OsStr;
use std::fs;
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

/// PTX that drivers of CUDA 12 compile, for GPUs without and with tensor cores for bf16. nvcc
/// writes its own version of PTX; the kernels use nothing that version 8.0 (CUDA 12.0) lacks.
const OLD_PTX: [u32; 2] = [75, 80];
const PTX_VERSION: [&str; 2] = [".version 9.0", ".version 8.0"];

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

    /// Compiles one file to two fatbins, one behind the other: the second has PTX for drivers of
    /// CUDA 12. Returns the output of ptxas.
    pub fn compile(&self, source: &Path, headers: &Path, output: &Path) -> Result<String, String> {
        let mut flags: Vec<&OsStr> = FLAGS.split_whitespace().map(OsStr::new).collect();
        flags.extend([OsStr::new("-I"), headers.as_os_str()]);
        let log =
            self.run("nvcc", &[&flags[..], &["-o".as_ref(), output.as_ref()]].concat(), source)?;
        let old = self.old_ptx(source, headers, &output.with_extension("scratch"))?;
        let unwritable = |error| format!("{}: {error}", output.display());
        let mut image = fs::read(output).map_err(unwritable)?;
        image.extend(old);
        fs::write(output, image).map_err(unwritable)?;
        Ok(log)
    }

    /// A fatbin of the older PTX. LZ4 compresses it: the oldest drivers do not read zstd.
    fn old_ptx(&self, source: &Path, headers: &Path, scratch: &Path) -> Result<Vec<u8>, String> {
        let image = scratch.with_extension("old.fatbin");
        let mut images = vec!["-64".to_string(), "--compress-mode=speed".to_string()];
        images.push(format!("--create={}", image.display()));
        for sm in OLD_PTX {
            let path = scratch.with_extension(format!("{sm}.ptx"));
            let arch = format!("-arch=compute_{sm}");
            let flags: [&OsStr; 7] = [
                "-ptx".as_ref(),
                "-O3".as_ref(),
                "-std=c++17".as_ref(),
                arch.as_ref(),
                "-I".as_ref(),
                headers.as_ref(),
                "-o".as_ref(),
            ];
            self.run("nvcc", &[&flags[..], &[path.as_ref()]].concat(), source)?;
            let unreadable = |error| format!("{}: {error}", path.display());
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            if !text.contains(PTX_VERSION[0]) {
                return Err(format!("{}: has no line {}", path.display(), PTX_VERSION[0]));
            }
            let text = text.replacen(PTX_VERSION[0], PTX_VERSION[1], 1);
            fs::write(&path, text).map_err(unreadable)?;
            // Fails if the older version lacks something.
            let arch = format!("-arch=sm_{sm}");
            let flags: [&OsStr; 4] =
                [arch.as_ref(), "-O0".as_ref(), "-o".as_ref(), "/dev/null".as_ref()];
            self.run("ptxas", &flags, &path)?;
            images.push(format!("--image3=kind=ptx,sm={sm},file={}", path.display()));
        }
        let (last, others) = images.split_last().expect("there are images");
        let others: Vec<&OsStr> = others.iter().map(OsStr::new).collect();
        self.run("fatbinary", &others, Path::new(last))?;
        fs::read(&image).map_err(|error| format!("{}: {error}", image.display()))
    }

    /// Runs a program of the toolkit on `source`; returns its output.
    fn run(&self, program: &str, flags: &[&OsStr], source: &Path) -> Result<String, String> {
        let mut command = Command::new(self.nvcc.with_file_name(program));
        let done = command.args(flags).arg(source).output();
        let done = done.map_err(|error| format!("{program} did not start: {error}"))?;
        let log = String::from_utf8_lossy(&done.stderr).into_owned()
            + &String::from_utf8_lossy(&done.stdout);
        if done.status.success() { Ok(log) } else { Err(format!("{}:\n{log}", source.display())) }
    }
}

/// The instructions for sm_90 (H100, H200).
pub fn sass(fatbin: &Path) -> Result<String, String> {
    let flags = ["--dump-sass", "--gpu-architecture", "sm_90"];
    cuobjdump(&flags, fatbin, Path::new("."))
}

/// The machine code for sm_90.
pub fn cubin(fatbin: &Path) -> Result<Vec<u8>, String> {
    let folder = cargo::target().join("kernels/cubin");
    let unusable = |error| format!("{}: {error}", folder.display());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(unusable)?;
    cuobjdump(&["--extract-elf", "sm_90"], fatbin, &folder)?;
    let file = fs::read_dir(&folder).map_err(unusable)?.flatten().next();
    let file = file.ok_or_else(|| format!("{}: has no code for sm_90", fatbin.display()))?;
    fs::read(file.path()).map_err(unusable)
}

/// Runs cuobjdump in `folder`; returns its output.
fn cuobjdump(flags: &[&str], fatbin: &Path, folder: &Path) -> Result<String, String> {
    let bin = environment(&DISASSEMBLER)?.join("bin");
    let path = env::join_paths(
        [bin.clone()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    );
    let mut dump = Command::new(bin.join("cuobjdump"));
    dump.args(flags).arg(fatbin).current_dir(folder).env("PATH", path.unwrap_or_default());
    let done = dump.output().map_err(|error| format!("cuobjdump did not start: {error}"))?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
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
