//! Leaves in the program which compiler and which commit made it, where that can be known.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    tell("ALEXNET_RUSTC", &rustc, &["--version"]);
    tell("ALEXNET_COMMIT", "git", &["rev-parse", "HEAD"]);
}

/// Hands a program's first line of output to the compiler; if there is none, nothing.
fn tell(variable: &str, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    if let Some(output) = output.ok().filter(|output| output.status.success()) {
        let text = String::from_utf8_lossy(&output.stdout);
        println!("cargo:rustc-env={variable}={}", text.lines().next().unwrap_or_default());
    }
}
