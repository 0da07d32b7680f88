//! `cargo xtask kernels`: compiles `.cu` files to the `.fatbin` files that are committed and
//! embedded.
//!
//! Each op's kernels are compiled for every GPU generation since 2018, and to PTX for later ones.
//! The compiler version and flags are pinned, so the same source compiles to the same bytes on any
//! machine; the manifest records the hashes of the sources. Building the program needs none of
//! this.

mod cubin;
mod manifest;
mod report;
mod sass;
pub mod sha256;
mod table;
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
cargo xtask kernels --at DIR
cargo xtask kernels --table

  Compiles crates/kernels/src/OP/OP.cu, all of them or those named, and rewrites the manifest.
  Uses nvcc 13.0.88 from CUDA_HOME or PATH; otherwise installs it below target/ (needs python3 and
  g++, downloads 104 MB, needs no GPU).
  Writes what each kernel uses on sm_90 to crates/kernels/sm_90.txt.
  --check   compiles all, compares with the committed files, and fails on spilled registers, on
            launch bounds that differ from the source's, and on tensor-core kernels without
            tensor-core instructions or with too many registers or other instructions
  --table   only reads the committed files again, and rewrites crates/kernels/sm_90.txt
  --at DIR  compiles each DIR/*.cu to a .fatbin beside it: the kernels of a program's own layers,
            which include \"kernel.cuh\"
";

/// Runs the command.
pub fn run(rest: &[OsString]) -> Result<(), ExitCode> {
    let arguments: Vec<&str> = rest.iter().filter_map(|argument| argument.to_str()).collect();
    if arguments.iter().any(|argument| ["--help", "-h", "help"].contains(argument)) {
        print!("{HELP}");
        return Ok(());
    }
    if let Some(at) = rest.iter().position(|argument| argument == "--at") {
        let folder = rest.get(at + 1).map(PathBuf::from);
        let built = match folder.filter(|_| rest.len() == 2) {
            Some(folder) => build_at(&folder),
            None => Err("--at takes one folder and no other arguments: --at DIR".to_string()),
        };
        return built.map_err(|message| cargo::failed("kernels", message));
    }
    if arguments == ["--table"] {
        let tabled = rewrite_table(&cargo::root().join("crates/kernels"));
        return tabled.map_err(|message| cargo::failed("kernels", message));
    }
    let check = arguments.contains(&"--check");
    let named: Vec<&str> =
        arguments.into_iter().filter(|argument| *argument != "--check").collect();
    build(check, &named).map_err(|message| cargo::failed("kernels", message))
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
    let (mut problems, mut rows) = (Vec::new(), Vec::new());
    let depth = depth(&kernels)?;
    let ops: Vec<&str> = sources.iter().map(|source| op_of(source)).collect();
    for source in sources.iter().filter(|s| named.is_empty() || named.contains(&op_of(s))) {
        let fresh = scratch.join(op_of(source)).with_extension("fatbin");
        let log = toolkit.compile(source, &kernels.join("cuh"), &fresh)?;
        let usages = report::usages(&log);
        problems.extend(report::print(&usages));
        let tensor_core: Vec<&str> = report::tensor_core_kernels(&usages);
        let sass = toolkit::sass(&fresh)?;
        problems.extend(report::without_tensor_cores(&tensor_core, &sass));
        let (of_op, wrong) = table::rows(source, &toolkit::cubin(&fresh)?, &sass, depth)?;
        problems.extend(wrong);
        rows.extend(of_op);
        let committed = source.with_extension("fatbin");
        let bytes = read(&fresh)?;
        if check {
            if read(&committed).ok().as_ref() != Some(&bytes) {
                problems.push(format!("{}: differs from the compiled source", committed.display()));
            }
        } else {
            fs::write(&committed, bytes)
                .map_err(|error| format!("{}: {error}", committed.display()))?;
        }
    }
    if check {
        problems.extend(stale(&kernels));
        problems.extend(table::stale(&kernels, &rows, &ops)?);
    } else {
        manifest::write(&kernels)?;
        table::write(&kernels, &rows, &ops)?;
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("\n  {}", problems.join("\n  "))) }
}

/// Writes the table of the committed files, without a compiler.
fn rewrite_table(kernels: &Path) -> Result<(), String> {
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let sources = sources(kernels)?;
    for source in &sources {
        let fatbin = source.with_extension("fatbin");
        let (cubin, sass) = (toolkit::cubin(&fatbin)?, toolkit::sass(&fatbin)?);
        let (of_op, wrong) = table::rows(source, &cubin, &sass, depth(kernels)?)?;
        rows.extend(of_op);
        problems.extend(wrong);
    }
    let ops: Vec<&str> = sources.iter().map(|source| op_of(source)).collect();
    table::write(kernels, &rows, &ops)?;
    if problems.is_empty() { Ok(()) } else { Err(format!("\n  {}", problems.join("\n  "))) }
}

/// Compiles the kernels in a folder that belongs to another program or crate.
fn build_at(folder: &Path) -> Result<(), String> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let is_cuda = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cu");
    let mut sources: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_cuda).collect();
    if sources.is_empty() {
        return Err(format!("{}: no .cu file is in this folder", folder.display()));
    }
    sources.sort();
    let (toolkit, headers) = (Toolkit::find()?, cargo::root().join("crates/kernels/cuh"));
    println!("{}", report::HEADER);
    let mut problems = Vec::new();
    for source in sources {
        let log = toolkit.compile(&source, &headers, &source.with_extension("fatbin"))?;
        problems.extend(report::print(&report::usages(&log)));
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("\n  {}", problems.join("\n  "))) }
}

/// Every `src/OP/OP.cu`, sorted by name.
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

/// k of a panel: the constant `DEPTH` of operand.cuh.
fn depth(kernels: &Path) -> Result<u32, String> {
    let path = kernels.join("cuh/operand.cuh");
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    let value = text
        .split_once("constexpr int DEPTH = ")
        .and_then(|(_, rest)| rest.split(';').next().and_then(|number| number.parse().ok()));
    value.ok_or_else(|| format!("{}: has no line `constexpr int DEPTH = N;`", path.display()))
}

fn op_of(source: &Path) -> &str {
    source.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
