//! Leaves in the program which compiler and which commit made it, where that can be known.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(log) = first_line("git", &["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}"); // grows with every commit
    }
    let opt_level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo:rustc-env=ALEXNET_OPT_LEVEL={opt_level}");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    tell("ALEXNET_RUSTC", &rustc, &["--version"]);
    tell("ALEXNET_COMMIT", "git", &["rev-parse", "HEAD"]);
}

/// Hands a program's first line of output to the compiler; if there is none, nothing.
fn tell(variable: &str, program: &str, arguments: &[&str]) {
    if let Some(line) = first_line(program, arguments) {
        println!("cargo:rustc-env={variable}={line}");
    }
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_string())
}
