//! `cargo xtask tidy`: checks the invariants of ARCHITECTURE.md.
//!
//! Each check is a function from the repository's files to findings, with tests of files that fail
//! it. All checks also run as an ordinary test.

mod arrows;
mod batch_path;
mod code;
mod cuda;
mod cycles;
mod forbidden_names;
mod ops;
mod published;
mod text;
mod tree;
mod unsafe_and_cuda;

use crate::cargo;
use std::fmt;
use std::process::ExitCode;
use tree::Tree;

/// A problem, its place and its remedy.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Finding { path: path.to_string(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

fn check(tree: &Tree) -> Vec<Finding> {
    let checks = [
        arrows::check,
        cycles::check,
        unsafe_and_cuda::check,
        batch_path::check,
        forbidden_names::check,
        ops::check,
        published::check,
        cuda::check,
        text::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(tree)).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// [`check`], and a check that the committed kernels are compiled from their sources.
fn check_with_manifest(tree: &Tree) -> Vec<Finding> {
    let stale = crate::kernels::stale(&cargo::root().join("crates/kernels"));
    let stale = stale.into_iter().map(|message| Finding::new("crates/kernels", 1, message));
    check(tree).into_iter().chain(stale).collect()
}

/// Prints all findings; fails if there are any.
pub fn run() -> Result<(), ExitCode> {
    let tree = Tree::read(cargo::root()).map_err(|error| cargo::failed("tidy", error))?;
    let findings = check_with_manifest(&tree);
    findings.iter().for_each(|finding| println!("{finding}"));
    match findings.len() {
        0 => {
            println!("tidy: {} files, no problems", tree.files.len());
            Ok(())
        }
        n => {
            println!("tidy: {n} problems");
            Err(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
#[test]
fn the_repository_is_tidy() {
    let findings = check_with_manifest(&Tree::read(crate::cargo::root()).unwrap());
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}
