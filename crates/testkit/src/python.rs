//! Python with the programs that exported files are tested in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter that `ALEXNET_PYTHON` names, or that of `cargo xtask python`: `python` in
/// Cargo's target folder, which `CARGO_TARGET_DIR` may name, relative to the repository's root.
pub fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    chosen(&root, env::var_os("ALEXNET_PYTHON"), env::var_os("CARGO_TARGET_DIR"))
}

fn chosen<T: Into<PathBuf>>(root: &Path, named: Option<T>, target: Option<T>) -> PathBuf {
    let target = target.map_or_else(|| "target".into(), Into::into);
    named.map_or_else(|| root.join(target).join("python/bin/python"), Into::into)
}

/// Whether an interpreter works and has these modules: `numpy, onnx`.
pub fn has_modules(python: &Path, modules: &str) -> bool {
    let output = Command::new(python).args(["-c", &format!("import {modules}")]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Reports that a test of `what` is skipped because of what `message` states.
///
/// # Panics
/// With `ALEXNET_REQUIRE_PYTHON=1`.
pub fn python_is_missing(what: &str, message: &str) {
    let is_required = env::var_os("ALEXNET_REQUIRE_PYTHON").is_some_and(|value| value == "1");
    assert!(!is_required, "{message}, which ALEXNET_REQUIRE_PYTHON asks for");
    eprintln!("SKIPPED: {what}: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_in_cargos_target_folder() {
        let chosen = |named, target| chosen(Path::new("/repo"), named, target);
        for (named, target, expected) in [
            (None, None, "/repo/target/python/bin/python"),
            (None, Some("built"), "/repo/built/python/bin/python"),
            (None, Some("/built"), "/built/python/bin/python"),
            (Some("/usr/bin/python3"), Some("/built"), "/usr/bin/python3"),
        ] {
            assert_eq!(chosen(named, target), Path::new(expected));
        }
        assert!(!has_modules(Path::new("/no/such/python"), "sys"));
    }
}
