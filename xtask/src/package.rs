//! Packages for crates.io, and a project that uses nothing else of this repository.

use crate::cargo;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TASK: &str = "package";

/// The crates, and what lies beside them.
fn manifests() -> std::io::Result<Vec<(PathBuf, String)>> {
    let root = cargo::root();
    let mut folders = vec![root.join("benches"), root.join("xtask")];
    for entry in fs::read_dir(root.join("crates"))? {
        folders.push(entry?.path());
    }
    folders.sort();
    let manifests = folders.into_iter().map(|folder| folder.join("Cargo.toml"));
    manifests.map(|path| Ok((path.clone(), fs::read_to_string(path)?))).collect()
}

/// The value of `key = "..."` in a manifest's first section.
fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
    line.split('"').next()
}

/// `cargo xtask package [--test]`.
pub fn run(arguments: &[OsString]) -> Result<(), ExitCode> {
    match arguments {
        [] => write(),
        [flag] if flag == "--test" => test(),
        _ => {
            eprintln!("xtask: `package` takes no argument but --test");
            Err(ExitCode::from(2))
        }
    }
}

/// Writes the package of every published crate to `target/package`: what `cargo publish` uploads,
/// without a lock file, for which cargo would ask the registry once for each crate.
pub fn write() -> Result<(), ExitCode> {
    let manifests = manifests().map_err(|error| cargo::failed(TASK, error))?;
    let arguments = "package --workspace --no-verify --allow-dirty --offline --exclude-lockfile";
    let mut package = cargo::command();
    package.current_dir(cargo::root()).args(arguments.split(' '));
    for (_, manifest) in manifests.iter().filter(|(_, text)| text.contains("publish = false")) {
        package.args(["--exclude", value(manifest, "name").unwrap_or_default()]);
    }
    cargo::run(package.arg("--quiet"))
}

/// Builds the examples and runs their test in a project that has only the unpacked packages, in
/// `target/outside`.
pub fn test() -> Result<(), ExitCode> {
    write()?;
    let project = cargo::target().join("outside");
    write_project(&project).map_err(|error| cargo::failed(TASK, error))?;
    let mut test = cargo::command();
    test.current_dir(&project).env("CARGO_TARGET_DIR", project.join("target"));
    cargo::run(test.args(["test", "--offline", "--quiet"])) // profiles of absent crates are normal
}

fn write_project(project: &Path) -> std::io::Result<()> {
    let packages = project.join("packages");
    for old in ["packages", "examples", "tests"] {
        let old = project.join(old);
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(&packages)?;
    let mut patches = String::new();
    for (_, manifest) in manifests()?.iter().filter(|(_, text)| !text.contains("publish = false")) {
        let name = value(manifest, "name").unwrap_or_default();
        let stem = format!("{name}-{}", version()?);
        let file = cargo::target().join("package").join(format!("{stem}.crate"));
        let unpacked =
            Command::new("tar").arg("xzf").arg(&file).arg("-C").arg(&packages).status()?;
        if !unpacked.success() {
            return Err(std::io::Error::other(format!("{}: cannot be unpacked", file.display())));
        }
        patches += &format!("{name} = {{ path = \"packages/{stem}\" }}\n");
    }
    for folder in ["examples", "tests"] {
        let from = packages.join(format!("alexnet-{}", version()?)).join(folder);
        fs::create_dir_all(project.join(folder))?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), project.join(folder).join(entry.file_name()))?;
        }
    }
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), "")?;
    // The versions that are downloaded already.
    fs::copy(cargo::root().join("Cargo.lock"), project.join("Cargo.lock"))?;
    let manifest = format!(
        r#"[workspace]

[package]
name = "outside"
version = "0.0.0"
edition = "2024"
publish = false

[features]
default = ["image", "ndarray", "rand", "report", "serve"]
image = []
ndarray = []
rand = []
report = []
serve = []

[dependencies]
alexnet = {{ version = "{}", features = ["full"] }}

[dev-dependencies]
rand = {{ version = "0.10", default-features = false }}
serde = {{ version = "1", features = ["derive"] }}

[patch.crates-io]
{patches}
{}"#,
        version()?,
        profile()?,
    );
    fs::write(project.join("Cargo.toml"), manifest)
}

/// The profile of tests, from the workspace's manifest.
fn profile() -> std::io::Result<String> {
    let manifest = fs::read_to_string(cargo::root().join("Cargo.toml"))?;
    let start = manifest.find("[profile.dev]").unwrap_or(manifest.len());
    // Members of the workspace are optimised; to this project they are dependencies.
    let table = "[profile.dev.package]\n";
    let crates = ["augment", "data", "kernels", "layers", "random", "tensor"];
    let crates = crates.map(|name| format!("alexnet-{name} = {{ opt-level = 2 }}\n")).concat();
    Ok(manifest[start..].replace(table, &format!("{table}{crates}")))
}

/// The version of all crates.
fn version() -> std::io::Result<String> {
    let manifest = fs::read_to_string(cargo::root().join("Cargo.toml"))?;
    let version = value(&manifest, "version");
    Ok(version.ok_or_else(|| std::io::Error::other("Cargo.toml has no version"))?.to_string())
}
