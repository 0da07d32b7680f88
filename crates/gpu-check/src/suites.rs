//! The test programs on the GPU, alone and under compute-sanitizer.

use crate::Verdict;
use crate::budget::{self, Budget, ExitReason};
use crate::cli::Cli;
use alexnet_benches::ledger::Table;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Runs all test programs of the folder.
pub fn tests_on_gpu(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let programs = programs(&cli.folder())?;
    let mut table = Table::new(&["tests"], &["passed", "failed", "s", ""]);
    let (mut verdict, mut details) = (Verdict::Passed, String::new());
    for program in &programs {
        let name = name_of(program);
        budget.log(&format!("tests: {name}"));
        let mut command = Command::new(program);
        command.env("ALEXNET_REQUIRE_CUDA", "1").current_dir(env::temp_dir());
        let (exit, seconds, output) = budget::run(command, budget.left(), |_| {})?;
        let [passed, failed] =
            counts(&output).map(|n| n.map_or("?".to_string(), |n| n.to_string()));
        let (result, one) = judge(exit, "");
        if one == Verdict::Failed {
            details +=
                &format!("\nThe last output of {name}:\n\n```text\n{}\n```\n", tail(&output, 60));
        }
        verdict = verdict.and(one);
        table.push([name, passed, failed, format!("{seconds:.1}"), result.to_string()]);
    }
    println!("{}{details}", table.render());
    Ok(verdict)
}

/// Runs training steps of a small network and the ops' known-answer tests under memcheck and
/// racecheck.
pub fn sanitizer(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let Some(sanitizer) = find_tool("compute-sanitizer") else {
        println!("compute-sanitizer is neither on PATH nor in /usr/local/cuda: NOT RUN.");
        return Ok(Verdict::Unfinished);
    };
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let kernels = cli.folder().join("tests/kernels");
    let mut table = Table::new(&["tool", "on"], &["s", ""]);
    let (mut verdict, mut details) = (Verdict::Passed, String::new());
    for tool in ["memcheck", "racecheck"] {
        let mut step = Command::new(&sanitizer);
        step.args(["--tool", tool, "--error-exitcode", "9"]).arg(&program);
        step.args(["--small", "--section", "replay", "--seconds", "600"]);
        let mut answers = Command::new(&sanitizer);
        answers.args(["--tool", tool, "--error-exitcode", "9"]).arg(&kernels);
        answers.args(["known", "--test-threads", "1"]).env("ALEXNET_REQUIRE_CUDA", "1");
        for (what, command) in [("training steps", step), ("known answers", answers)] {
            budget.log(&format!("sanitizer: {tool}, {what}"));
            let (exit, seconds, output) = budget::run(command, budget.left(), |_| {})?;
            let (result, one) = judge(exit, "clean");
            if one == Verdict::Failed {
                let output = tail(&output, 60);
                details += &format!("\n{tool}, {what}:\n\n```text\n{output}\n```\n");
            }
            verdict = verdict.and(one);
            let row = [tool, what, &format!("{seconds:.1}"), result].map(String::from);
            table.push(row);
        }
    }
    println!("{}{details}", table.render());
    Ok(verdict)
}

/// The result of a program in the table, `passed` if it succeeded, and its verdict.
fn judge(exit: ExitReason, passed: &'static str) -> (&'static str, Verdict) {
    match exit {
        ExitReason::Code(0) => (passed, Verdict::Passed),
        ExitReason::Timeout => ("out of time", Verdict::Unfinished),
        ExitReason::Code(_) | ExitReason::Signal => ("FAILED", Verdict::Failed),
    }
}

fn programs(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = folder.join("tests");
    let named = |error| format!("{}: {error}; select it with --folder DIR", folder.display());
    let entries = fs::read_dir(&folder).map_err(named)?;
    let mut programs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    programs.sort();
    if programs.is_empty() {
        Err(format!("{}: contains no test programs", folder.display()))
    } else {
        Ok(programs)
    }
}

fn name_of(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A program of the CUDA toolkit.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/local/cuda/bin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The counts of passed and failed tests in the last line of a test program.
fn counts(output: &str) -> [Option<u64>; 2] {
    let line = output.lines().rev().find(|line| line.starts_with("test result:"));
    [" passed", " failed"].map(|word| {
        let before = line?.split_once(word)?.0;
        before.rsplit([' ', ';']).next()?.parse().ok()
    })
}

/// The last lines.
pub fn tail(output: &str, lines: usize) -> String {
    let all: Vec<&str> = output.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_test_program_are_parsed() {
        let output = "test a ... ok\ntest result: FAILED. 12 passed; 3 failed; 0 ignored\n\n";
        assert_eq!(counts(output), [Some(12), Some(3)]);
        assert_eq!(counts("killed"), [None, None]);
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
    }
}
