//! Compiles `.cu` files to a shared library with g++. Results are cached by a hash of their
//! sources.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, fs, io, thread};

/// The stand-in itself, compiled without checks.
const MACHINE: [&str; 4] = ["fiber.cpp", "block.cpp", "checks.cpp", "driver.cpp"];

const FLAGS: &[&str] = &[
    "-std=c++20",
    "-O2",
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-c",
];

/// Additional flags for kernels: every access and risky operation calls checks.cpp.
const CHECKS: &[&str] = &[
    "-DCUDA_ON_CPU",
    "-include",
    "cuda_on_cpu.h",
    "-x",
    "c++",
    "-fsanitize=kernel-address",
    "--param",
    "asan-instrumentation-with-call-threshold=0",
    "--param",
    "asan-stack=0",
    "--param",
    "asan-globals=0",
    "-fsanitize=bounds,alignment,shift,integer-divide-by-zero,signed-integer-overflow",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
];

/// The sources of a stand-in.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Kernel files.
    pub kernels: Vec<PathBuf>,
    /// Folders of the headers that the kernels include.
    pub headers: Vec<PathBuf>,
    /// Functions of the driver that the library lacks, like those of an old driver.
    pub without: Vec<String>,
}

impl Sources {
    /// Every `.cu` file of `crates/kernels`.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn of_the_project() -> Result<Sources, String> {
        let kernels = here().join("../kernels");
        let mut sources = Sources { headers: vec![kernels.join("cuh")], ..Sources::default() };
        for folder in list(&kernels.join("src"))? {
            if folder.is_dir() {
                sources.kernels.extend(list(&folder)?.into_iter().filter(|path| is_cuda(path)));
            }
        }
        Ok(sources)
    }

    /// The library, built now or by an earlier call.
    ///
    /// # Errors
    /// If g++ is missing, or with its messages about a kernel.
    pub fn build(&self) -> Result<PathBuf, String> {
        let compiler = version_of_compiler()?;
        let machine = here().join("cpp");
        let mut headers = vec![machine.clone()];
        headers.extend(self.headers.iter().cloned());
        let mut shared = DefaultHasher::new();
        (FLAGS, CHECKS, compiler).hash(&mut shared);
        for folder in &headers {
            let is_header = |kind: &OsStr| kind == "h" || kind == "cuh";
            for path in list(folder)?.iter().filter(|path| path.extension().is_some_and(is_header))
            {
                read(path)?.hash(&mut shared);
            }
        }
        let folder = target().join("cuda-on-cpu");
        fs::create_dir_all(&folder).map_err(|error| named(&folder, &error))?;

        let mut jobs = Vec::new();
        let sources = MACHINE.iter().map(|name| machine.join(name)).chain(self.kernels.clone());
        for source in sources {
            let mut hasher = shared.clone();
            read(&source)?.hash(&mut hasher);
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            let object = folder.join(format!("{stem}-{:016x}.o", hasher.finish()));
            jobs.push((source, object));
        }
        compile_all(&jobs, &headers)?;
        let objects: Vec<PathBuf> = jobs.into_iter().map(|(_, object)| object).collect();
        self.link(&folder, &objects)
    }

    fn link(&self, folder: &Path, objects: &[PathBuf]) -> Result<PathBuf, String> {
        let mut hasher = DefaultHasher::new();
        (objects, &self.without).hash(&mut hasher);
        let library = folder.join(format!("libcuda-{:016x}.so", hasher.finish()));
        if library.exists() {
            return Ok(library);
        }
        let mut link = Command::new("g++");
        // The first name that CUDA's bindings try: they get a library of this name that is already
        // loaded.
        link.args(["-shared", "-Wl,-soname,libcuda.so", "-Wl,-z,defs"]).args(objects);
        hide(&mut link, &library, &self.without)?;
        run_into(link, &library)?;
        Ok(library)
    }
}

/// Builds `cpp/STEM.cpp`, a stand-in for a library other than the driver, without some of its
/// functions. `name` is the library's file name. Results are cached.
pub(crate) fn library(stem: &str, name: &str, without: &[&str]) -> Result<PathBuf, String> {
    let source = here().join("cpp").join(stem).with_extension("cpp");
    let without: Vec<String> = without.iter().map(ToString::to_string).collect();
    let mut hasher = DefaultHasher::new();
    (FLAGS, version_of_compiler()?, read(&source)?, &without).hash(&mut hasher);
    // Each in its own folder, since the file name is fixed.
    let folder = target().join(format!("cuda-on-cpu/{stem}-{:016x}", hasher.finish()));
    fs::create_dir_all(&folder).map_err(|error| named(&folder, &error))?;
    let library = folder.join(name);
    if !library.exists() {
        let mut build = Command::new("g++");
        build.args(FLAGS.iter().filter(|flag| **flag != "-c"));
        build.args(["-Wall", "-Wextra", "-Werror", "-shared"]);
        build.arg(format!("-Wl,-soname,{name}"));
        hide(&mut build, &library, &without)?;
        build.arg(source);
        run_into(build, &library)?;
    }
    Ok(library)
}

/// Hides some functions of a library.
fn hide(link: &mut Command, library: &Path, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let hidden: String = names.iter().map(|name| format!(" {name};")).collect();
    let script = library.with_extension("version");
    let text = format!("{{ local:{hidden} }};\n");
    fs::write(&script, text).map_err(|error| named(&script, &error))?;
    link.arg(format!("-Wl,--version-script={}", script.display()));
    Ok(())
}

/// Compiles the missing objects on all cores.
fn compile_all(jobs: &[(PathBuf, PathBuf)], headers: &[PathBuf]) -> Result<(), String> {
    let missing: Vec<_> = jobs.iter().filter(|(_, object)| !object.exists()).collect();
    let (queue, failures) = (Mutex::new(missing.into_iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("no compiler panics").next();
    let work = || {
        while let Some((source, object)) = next() {
            let mut compile = Command::new("g++");
            compile.args(FLAGS).args(headers.iter().map(|dir| format!("-I{}", dir.display())));
            if is_cuda(source) {
                compile.args(CHECKS);
            }
            compile.arg(source);
            if let Err(failure) = run_into(compile, object) {
                failures.lock().expect("no compiler panics").push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    match failures.into_inner().expect("no compiler panics").pop() {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

/// Runs g++ with `-o`. The file appears complete or not at all, even if other processes build it
/// at the same time.
fn run_into(mut command: Command, output: &Path) -> Result<(), String> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let number = STARTED.fetch_add(1, Relaxed); // threads of one process may build the same file
    let ours = output.with_extension(format!("{}-{number}.part", std::process::id()));
    let done = command.arg("-o").arg(&ours).output();
    let done = done.map_err(|error| format!("g++ did not start: {error}"))?;
    if !done.status.success() {
        return Err(format!("g++ failed:\n{}", String::from_utf8_lossy(&done.stderr)));
    }
    fs::rename(&ours, output).map_err(|error| named(output, &error))
}

fn version_of_compiler() -> Result<Vec<u8>, String> {
    let version = Command::new("g++").arg("--version").output();
    version.map(|output| output.stdout).map_err(|error| {
        format!("kernels cannot be compiled for the CPU: g++ did not start ({error})")
    })
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> PathBuf {
    let set = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| here().join("../../target"))
}

fn is_cuda(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "cu")
}

/// The folder's entries in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| named(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
