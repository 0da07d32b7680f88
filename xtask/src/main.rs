//! The repository's own commands: `cargo xtask <word>`.
//!
//! One match, and a file a task. This crate has no dependencies and so compiles in a second; what
//! it starts does the work.
#![forbid(unsafe_code)]

mod alexnet;
mod audit;
mod bench;
mod cargo;
mod fuzz;
mod gpu_check;
mod kernels;
mod same_bits;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <word> [arguments]

  train, eval, describe, ...   build `alexnet` for speed and become it (--help: its words)
  reproduce [NAME --data DIR]  run the paper's experiments, and write down what comes out
  bench [--help]               time ops and steps, as one table
  kernels [--help]             compile the CUDA kernels that are committed and embedded
  gpu-check [help]             everything that only a GPU can show, in one folder to carry there
  fuzz [--seconds N]           give every reader of strangers' files inputs that are wrong
  test [--long]                everything that must hold: format, lints, docs, tidy, tests;
                               --long: and every resume point, a hundred kills, full disks
  same-bits OLD [NEW]          whether two builds of the program train to the same bits
  audit                        licences, sources and known faults of what this is built from
  tidy                         the invariants of ARCHITECTURE.md alone, in a blink
";

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let word = words.next().unwrap_or_default();
    let rest: Vec<_> = words.collect();
    match word.to_str() {
        Some("audit") => audit::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("kernels") => kernels::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("gpu-check") => gpu_check::run(&rest),
        Some("same-bits") => same_bits::run(&rest),
        Some("test") => test::run(&rest),
        Some("tidy") => tidy::run(),
        Some("help" | "-h" | "--help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some("") => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
        _ => alexnet::become_it(&word, &rest),
    }
}
