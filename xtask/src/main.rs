//! Development commands: `cargo xtask COMMAND`.
//!
//! `main` selects the command; each command has a file. The crate has no dependencies and compiles
//! in a second; the programs it starts do the work.
#![forbid(unsafe_code)]

mod alexnet;
mod audit;
mod bench;
mod cargo;
mod fuzz;
mod gpu_check;
mod kernels;
mod package;
mod pictures;
mod python;
mod same_bits;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND [arguments]

  train, eval, describe, ...   build `alexnet` in release mode and run it (--help lists commands)
  reproduce [NAME --data DIR]  run the paper's experiments and write their result pages
  bench [--help]               time ops, steps and epochs, and measure memory
  kernels [--help]             compile the CUDA kernels that are committed and embedded
  gpu-check [help]             build a folder with all tests that need a GPU, and run them
  fuzz [--seconds N]           fuzz every reader of untrusted files
  package [--test]             write the packages of all published crates to target/package;
                               --test: build and run the examples with these packages alone
  pictures [RUN]               write the pictures of docs/ again, some by a browser
  python [--torch]             install the programs in which `test` opens exported files:
                               onnxruntime and OpenVINO; with --torch also PyTorch
  test [--long]                all checks: format, lints, docs, tidy, tests, packages;
                               --long: also all cases of every op, all resume points, kills,
                               full-disk sizes and protocols, and the examples in a project that
                               has only the packages
  same-bits OLD [NEW]          check that two builds of the program train bit-identically
  audit                        check licences, sources and advisories of all dependencies
  tidy                         check the invariants of ARCHITECTURE.md
";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<_> = arguments.collect();
    let done = match command.to_str() {
        Some("audit") => audit::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("kernels") => kernels::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("gpu-check") => gpu_check::run(&rest),
        Some("package") => package::run(&rest),
        Some("pictures") => pictures::run(&rest),
        Some("python") => python::run(&rest),
        Some("same-bits") => same_bits::run(&rest),
        Some("test") => test::run(&rest),
        Some("tidy") => tidy::run(),
        Some("help" | "-h" | "--help") => {
            print!("{HELP}");
            Ok(())
        }
        Some("") => {
            eprint!("{HELP}");
            Err(ExitCode::from(2))
        }
        _ => alexnet::run(&command, &rest),
    };
    done.err().unwrap_or(ExitCode::SUCCESS)
}
