//! `cargo xtask kernels`: from `.cu` to the `.fatbin` that is committed and embedded.
//!
//! Each op's kernels are compiled for every GPU since 2018 and, as PTX, for those to come. The
//! compiler and its flags are pinned, so that the same source gives the same bytes anywhere; the
//! manifest beside the kernels says from which sources they were made. Building the program needs
//! none of this.

mod manifest;
mod report;
pub mod sha256;
mod toolkit;

use crate::cargo;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::Toolkit;

pub use manifest::stale;

const HELP: &str = "\
cargo xtask kernels [--check] [OP...]

  Compiles crates/kernels/src/OP/OP.cu, all of them or those named, and rewrites the manifest.
  Takes nvcc 13.0.88 from CUDA_HOME or PATH; else it is installed below target/ (needs python3 and
  a g++, 104 MB to fetch, no GPU).
  --check   compiles all, compares with what is committed, and fails on a spilled register or a
            tensor-core kernel without tensor-core instructions
";

/// Runs the command.
pub fn run(rest: &[OsString]) -> ExitCode {
    let words: Vec<&str> = rest.iter().filter_map(|word| word.to_str()).collect();
    if words.iter().any(|word| ["--help", "-h", "help"].contains(word)) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let check = words.contains(&"--check");
    let named: Vec<&str> = words.into_iter().filter(|word| *word != "--check").collect();
    match build(check, &named) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask kernels: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn build(check: bool, named: &[&str]) -> Result<(), String> {
    let kernels = cargo::root().join("crates/kernels");
    let sources = sources(&kernels)?;
    if let Some(unknown) = named.iter().find(|op| !sources.iter().any(|s| op_of(s) == **op)) {
        return Err(format!("there is no crates/kernels/src/{unknown}/{unknown}.cu"));
    }
    let toolkit = Toolkit::find()?;
    let scratch = cargo::target().join("kernels");
    fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    println!("{}", report::HEADER);
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|s| named.is_empty() || named.contains(&op_of(s))) {
        let fresh = scratch.join(op_of(source)).with_extension("fatbin");
        let log = toolkit.compile(source, &kernels.join("cuh"), &fresh)?;
        let usages = report::usages(&log);
        wrong.extend(report::print(&usages));
        let products: Vec<&str> = report::tensor_core_kernels(&usages);
        if !products.is_empty() {
            wrong.extend(report::without_products(&products, &toolkit.sass(&fresh)?));
        }
        let committed = source.with_extension("fatbin");
        let bytes = read(&fresh)?;
        if check {
            if read(&committed).ok().as_ref() != Some(&bytes) {
                wrong.push(format!("{}: not what its source gives", committed.display()));
            }
        } else {
            fs::write(&committed, bytes)
                .map_err(|error| format!("{}: {error}", committed.display()))?;
        }
    }
    if check {
        wrong.extend(stale(&kernels))
    } else {
        manifest::write(&kernels)?
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("\n  {}", wrong.join("\n  "))) }
}

/// Every `src/OP/OP.cu`, in the order of names.
fn sources(kernels: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = kernels.join("src");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut sources: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join(entry.file_name()).with_extension("cu"))
        .filter(|path| path.is_file())
        .collect();
    sources.sort();
    Ok(sources)
}

fn op_of(source: &Path) -> &str {
    source.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
