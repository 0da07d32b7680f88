//! Hashes of the committed kernels and their sources.

use super::{read, sha256, sources};
use std::fs;
use std::path::{Path, PathBuf};

const NAME: &str = "kernels.sha256";

/// Writes the manifest, with a line `hash  path` for each header, source and fatbin.
pub fn write(kernels: &Path) -> Result<(), String> {
    let path = kernels.join(NAME);
    fs::write(&path, text(kernels)?).map_err(|error| format!("{}: {error}", path.display()))
}

/// The files that differ from the manifest.
pub fn stale(kernels: &Path) -> Vec<String> {
    let now = match text(kernels) {
        Ok(text) => text,
        Err(message) => return vec![message],
    };
    let then = fs::read_to_string(kernels.join(NAME)).unwrap_or_default();
    let changed = now.lines().filter(|line| !then.lines().any(|old| old == *line));
    let gone = then.lines().filter(|line| !now.lines().any(|new| new == *line));
    let mut paths: Vec<&str> =
        changed.chain(gone).filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .map(|path| format!("crates/kernels/{path} differs from {NAME}: run cargo xtask kernels"))
        .collect()
}

fn text(kernels: &Path) -> Result<String, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(kernels.join("cuh"))
        .map_err(|error| format!("{}: {error}", kernels.join("cuh").display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for source in sources(kernels)? {
        files.push(source.with_extension("fatbin"));
        files.push(source);
    }
    let mut text = String::new();
    for file in files {
        let path = file.strip_prefix(kernels).unwrap_or(&file).to_string_lossy();
        text += &format!("{}  {path}\n", sha256::hex(&read(&file)?));
    }
    Ok(text)
}
