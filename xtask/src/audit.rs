//! Licences, sources, duplicates and security advisories of dependencies.

use crate::cargo;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
cargo xtask audit

Checks the dependencies in Cargo.lock against deny.toml with cargo-deny: licences, sources, banned
crates and, if the advisory database can be fetched, advisories. Without cargo-deny nothing is
checked and a hint for installing it is printed.
";

/// Checks that need no advisory database.
const OFFLINE: [&str; 3] = ["bans", "licenses", "sources"];

/// Runs cargo-deny; fails if it finds anything.
pub fn run(rest: &[OsString]) -> Result<(), ExitCode> {
    match rest {
        [] => {}
        [flag] if flag == "--help" || flag == "-h" => {
            print!("{HELP}");
            return Ok(());
        }
        _ => {
            eprint!("{HELP}");
            return Err(ExitCode::from(2));
        }
    }
    if !is_installed() {
        println!(
            "xtask audit: SKIPPED: cargo-deny is not installed (`cargo install cargo-deny \
             --locked`)"
        );
        return Ok(());
    }
    println!("$ cargo deny check {}", OFFLINE.join(" "));
    cargo::run(deny().args(["check", "--hide-inclusion-graph"]).args(OFFLINE))?;
    if !deny().arg("fetch").status().is_ok_and(|status| status.success()) {
        println!("xtask audit: SKIPPED: advisories; their database cannot be fetched");
        return Ok(());
    }
    println!("$ cargo deny check advisories");
    cargo::run(deny().args(["check", "--disable-fetch", "advisories"]))
}

fn deny() -> Command {
    let mut deny = Command::new("cargo-deny");
    deny.args(["--all-features", "--locked"]).current_dir(cargo::root());
    deny
}

fn is_installed() -> bool {
    let mut deny = Command::new("cargo-deny");
    let status = deny.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
