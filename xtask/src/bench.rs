//! `cargo xtask bench`: benchmarks.

use crate::{alexnet, cargo};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Prints the tables of ops, steps, memory and epochs; with `criterion` as the first argument, runs
/// criterion's benchmarks of ops, steps and the loader instead.
pub fn run(rest: &[OsString]) -> Result<(), ExitCode> {
    if rest.first().is_some_and(|first| first == "criterion") {
        let mut bench = cargo::command();
        bench.current_dir(cargo::root());
        bench.args(["bench", "--locked", "--package", "alexnet-benches", "--benches", "--"]);
        bench.args(&rest[1..]);
        return alexnet::exec(bench);
    }
    cargo::build_release("alexnet-benches")?;
    let mut table = Command::new(cargo::target().join("release").join("alexnet-benches"));
    table.args(rest);
    if let Some(commit) = cargo::commit() {
        table.env("ALEXNET_COMMIT", commit);
    }
    alexnet::exec(table)
}
