//! The invariants of ARCHITECTURE.md, held against the files.
//!
//! Each check is a function from the tree to findings and has a test that shows it fail. The whole
//! runs as `cargo xtask tidy` and as an ordinary test.

mod arrows;
mod code;
mod cuda;
mod cycles;
mod ops;
mod rooms;
mod text;
mod tree;
mod walls;
mod way;

use std::fmt;
use std::process::ExitCode;
use tree::Tree;

/// What is wrong where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    sentence: String,
}

impl Finding {
    fn new(path: &str, line: usize, sentence: impl Into<String>) -> Self {
        Finding { path: path.to_string(), line, sentence: sentence.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

fn check(tree: &Tree) -> Vec<Finding> {
    let checks = [
        arrows::check,
        cycles::check,
        walls::check,
        way::check,
        rooms::check,
        ops::check,
        cuda::check,
        text::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(tree)).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// [`check`], and whether the committed kernels are made from their sources.
fn check_with_manifest(tree: &Tree) -> Vec<Finding> {
    let stale = crate::kernels::stale(&crate::cargo::root().join("crates/kernels"));
    let stale = stale.into_iter().map(|sentence| Finding::new("crates/kernels", 1, sentence));
    check(tree).into_iter().chain(stale).collect()
}

/// Prints what is wrong with the repository; fails if anything is.
pub fn run() -> ExitCode {
    let tree = match Tree::read(crate::cargo::root()) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("xtask tidy: {error}");
            return ExitCode::FAILURE;
        }
    };
    let findings = check_with_manifest(&tree);
    findings.iter().for_each(|finding| println!("{finding}"));
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing to say", tree.files.len());
            ExitCode::SUCCESS
        }
        n => {
            println!("tidy: {n} to mend");
            ExitCode::FAILURE
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
