//! What the program is built from: licences, sources, duplicates and known faults of dependencies.

use crate::cargo;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
cargo xtask audit

Holds the dependencies in Cargo.lock to deny.toml with cargo-deny: their licences, where they come
from, what is banned, and, if its database can be had, known faults. Without cargo-deny it is said
how to get it, and nothing is checked.
";

/// What needs nothing but the packages themselves.
const OFFLINE: [&str; 3] = ["bans", "licenses", "sources"];

/// Runs cargo-deny; fails if it finds anything.
pub fn run(rest: &[OsString]) -> ExitCode {
    match rest {
        [] => {}
        [word] if word == "--help" || word == "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    }
    if !is_there() {
        println!(
            "xtask audit: SKIPPED, nothing was checked: there is no cargo-deny (`cargo install \
             cargo-deny --locked`)"
        );
        return ExitCode::SUCCESS;
    }
    println!("$ cargo deny check {}", OFFLINE.join(" "));
    match deny().args(["check", "--hide-inclusion-graph"]).args(OFFLINE).status() {
        Ok(status) if status.success() => {}
        Ok(status) => return cargo::code(status),
        Err(error) => {
            eprintln!("xtask audit: cargo-deny did not start: {error}");
            return ExitCode::FAILURE;
        }
    }
    if !deny().arg("fetch").status().is_ok_and(|status| status.success()) {
        println!("xtask audit: SKIPPED: known faults, as their database cannot be fetched now");
        return ExitCode::SUCCESS;
    }
    println!("$ cargo deny check advisories");
    match deny().args(["check", "--disable-fetch", "advisories"]).status() {
        Ok(status) => cargo::code(status),
        Err(_) => ExitCode::FAILURE,
    }
}

fn deny() -> Command {
    let mut deny = Command::new("cargo-deny");
    deny.args(["--all-features", "--locked"]).current_dir(cargo::root());
    deny
}

fn is_there() -> bool {
    let mut deny = Command::new("cargo-deny");
    let told = deny.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    told.is_ok_and(|status| status.success())
}
