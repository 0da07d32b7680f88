//! Single kernels under Nsight Compute.

use crate::Verdict;
use crate::budget::{self, Budget, ExitReason};
use crate::cli::Cli;
use crate::suites::{find_tool, tail};
use std::env;
use std::process::Command;

/// Kernels of a step of `alexnet` with 128 images: a pattern of names, and how many launches are
/// skipped.
const KERNELS: [(&str, &str, &str); 3] = [
    ("conv2, y", "regex:^conv_forward", "1"),
    ("conv4, dx", "regex:^conv_backward_input", "1"),
    ("fc7, dw", "regex:^linear_backward_weights", "1"),
];
/// What is asked of each.
const SECTIONS: [&str; 4] =
    ["SpeedOfLight", "MemoryWorkloadAnalysis", "WarpStateStats", "Occupancy"];
/// Printed by `ncu` where only root may read the GPU's counters.
const NOT_PERMITTED: &str = "ERR_NVGPUCTRPERM";

/// Runs the section.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let Some(ncu) = find_tool("ncu") else {
        println!("ncu is neither on PATH nor in /usr/local/cuda: NOT RUN.");
        return Ok(Verdict::Unfinished);
    };
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut verdict = Verdict::Passed;
    for (what, names, skipped) in KERNELS {
        let mut command = Command::new(&ncu);
        command.args(["--kernel-name", names, "--launch-skip", skipped, "--launch-count", "1"]);
        command.args(["--kill", "yes"]);
        command.args(SECTIONS.iter().flat_map(|section| ["--section", section]));
        command.arg(&program).args(["--section", "times", "--quick", "--report"]);
        command.arg(cli.report().with_extension("profile.md"));
        command.args(["--model", "alexnet", "--batch", "128", "--seconds", "600"]);
        if cli.small {
            command.arg("--small");
        }
        budget.log(&format!("profiler: {what}"));
        let (exit, _, output) = budget::run(command, budget.left(), |_| {})?;
        println!("### {what}\n\n```text\n{}\n```\n", tail(&output, 120));
        if output.contains(NOT_PERMITTED) {
            println!("ncu may not read the GPU's counters ({NOT_PERMITTED}): NOT RUN.");
            return Ok(Verdict::Unfinished);
        }
        verdict = verdict.and(match exit {
            // Killed after the launch: the code is that of the killed program.
            ExitReason::Code(_) if output.contains("Speed Of Light") => Verdict::Passed,
            ExitReason::Timeout => Verdict::Unfinished,
            ExitReason::Code(_) | ExitReason::Signal => Verdict::Failed,
        });
    }
    Ok(verdict)
}
