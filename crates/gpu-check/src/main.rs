//! `cargo xtask gpu-check`: all checks and benchmarks that need a GPU.
//!
//! Each section runs in a separate process with a time limit, so a kernel that hangs or a GPU that
//! fails does not affect the other sections. The output of a section is its part of the report,
//! which is saved after each section; progress goes to standard error.
#![forbid(unsafe_code)]

mod bits;
mod budget;
mod cli;
mod curves;
mod exchange;
mod gpu;
mod machine;
mod peaks;
mod peer;
mod profiler;
mod suites;
mod times;
mod vendor;

use budget::{Budget, ExitReason};
use clap::Parser;
use cli::{Cli, Section};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};
use tensor::{Choice, Device};

/// Exit code: no check failed, but some were not completed.
const UNFINISHED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.section {
        Some(section) => run_section(section, &cli),
        None => run_all(&cli),
    };
    done.unwrap_or_else(|message| {
        eprintln!("gpu-check: {message}");
        println!("\nFAILED: {message}");
        Verdict::Failed.code()
    })
}

/// The result of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// Not completed, for lack of time or of a required program or library.
    Unfinished,
}

impl Verdict {
    fn of(passed: bool) -> Verdict {
        if passed { Verdict::Passed } else { Verdict::Failed }
    }

    /// The verdict of a section whose process ended like this.
    fn of_process(exit: ExitReason) -> Verdict {
        match exit {
            ExitReason::Code(0) => Verdict::Passed,
            ExitReason::Code(code) if code == i32::from(UNFINISHED) => Verdict::Unfinished,
            ExitReason::Timeout => Verdict::Unfinished,
            ExitReason::Code(_) | ExitReason::Signal => Verdict::Failed,
        }
    }

    /// The process's exit code.
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Verdict::Passed => 0,
            Verdict::Failed => 1,
            Verdict::Unfinished => UNFINISHED,
        })
    }

    /// The worse of two.
    fn and(self, other: Verdict) -> Verdict {
        use Verdict::{Failed, Passed, Unfinished};
        match (self, other) {
            (Failed, _) | (_, Failed) => Failed,
            (Unfinished, _) | (_, Unfinished) => Unfinished,
            (Passed, Passed) => Passed,
        }
    }
}

/// Runs one section in this process.
fn run_section(section: Section, cli: &Cli) -> Result<ExitCode, String> {
    let budget = Budget::new(cli.seconds);
    let verdict = match section {
        Section::Machine => machine::run(cli, &budget)?,
        Section::Curves => curves::run(cli, &budget)?,
        Section::Repeats => bits::repeats(cli, &budget)?,
        Section::Replay => bits::replay(cli, &budget)?,
        Section::Nccl => exchange::run(cli)?,
        Section::Vendor => vendor::run(cli, &budget)?,
        Section::Peaks => peaks::run(cli, &budget)?,
        Section::Times => times::run(cli, &budget)?,
        Section::Peer => peer::run(cli, &budget)?,
        Section::Tests => suites::tests_on_gpu(cli, &budget)?,
        Section::Profiler => profiler::run(cli, &budget)?,
        Section::Sanitizer => suites::sanitizer(cli, &budget)?,
    };
    Ok(verdict.code())
}

/// Runs the selected sections, each in a process.
fn run_all(cli: &Cli) -> Result<ExitCode, String> {
    let budget = Budget::new(cli.seconds);
    let name = match Device::open(Choice::Cuda(0), 0) {
        Ok(device) => gpu::name(&device),
        Err(error) => return Ok(no_gpu(cli, &error.to_string())),
    };
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let commit = env::var("ALEXNET_COMMIT").ok().or_else(|| built_commit(cli));
    let commit = commit.map_or(String::new(), |commit| format!(" ({commit})"));
    let mut report = format!(
        "# GPU check\n\n{}, {name}, alexnet {}{commit}: `gpu-check {}`\n",
        alexnet_benches::machine::today(),
        env!("CARGO_PKG_VERSION"),
        arguments.join(" "),
    );
    let (mut verdicts, mut printed) = (Vec::new(), 0);
    for section in cli.sections() {
        let limit = cli.time_limit(section).min(budget.left());
        let heading = format!("\n## {}\n\n", section.title());
        let text = if limit < Duration::from_secs(2) {
            verdicts.push((section, Verdict::Unfinished, 0.0));
            "not started: no time left\n".to_string()
        } else {
            budget.log(&format!("{}: at most {:.0} s", section.name(), limit.as_secs_f64()));
            let mut child = std::process::Command::new(&program);
            child.args(&arguments).args(["--section", section.name()]);
            // A section should stop before its process is killed.
            child.args(["--seconds", &format!("{:.2}", 0.9 * limit.as_secs_f64())]);
            // What a section has printed so far is in the report even if this process is ended.
            let mut unsaved = Ok(());
            let so_far = |text: &str| unsaved = save(cli, &(report.clone() + &heading + text));
            let (exit, seconds, text) = budget::run(child, limit, so_far)?;
            unsaved?;
            let verdict = Verdict::of_process(exit);
            budget.log(&format!("{}: {verdict:?} after {seconds:.1} s", section.name()));
            verdicts.push((section, verdict, seconds));
            match exit {
                ExitReason::Timeout => text + "\nkilled at the time limit\n",
                ExitReason::Signal => text + "\nended by a signal\n",
                ExitReason::Code(_) => text,
            }
        };
        report += &format!("{heading}{}\n", text.trim());
        printed = print_rest(&report, printed);
        save(cli, &report)?;
    }
    report += "\n## Summary\n\n| section | | s |\n|---|---|---:|\n";
    for (section, verdict, seconds) in &verdicts {
        report += &format!("| {} | {verdict:?} | {seconds:.1} |\n", section.name());
    }
    save(cli, &report)?;
    print_rest(&report, printed);
    let verdict = verdicts.into_iter().fold(Verdict::Passed, |all, (_, one, _)| all.and(one));
    Ok(verdict.code())
}

/// Prints the report from byte `printed` on at once; returns its length.
fn print_rest(report: &str, printed: usize) -> usize {
    print!("{}", &report[printed..]);
    let _ = std::io::stdout().flush(); // the report is in its file, too
    report.len()
}

fn save(cli: &Cli, report: &str) -> Result<(), String> {
    let path = cli.report();
    fs::write(&path, report).map_err(|error| format!("{}: {error}", path.display()))
}

/// The commit that `cargo xtask gpu-check` has built.
fn built_commit(cli: &Cli) -> Option<String> {
    let text = fs::read_to_string(cli.folder().join("commit")).ok()?;
    Some(text.trim().to_string())
}

/// Lists the sections that could not run without a GPU.
fn no_gpu(cli: &Cli, why: &str) -> ExitCode {
    println!("NO GPU: {why}\n\nThese sections need one:");
    for section in cli.sections() {
        println!("  {:<10} {}", section.name(), section.title());
    }
    println!(
        "\nCopy this folder to a machine with a GPU and run ./gpu-check there; it needs only the \
         driver."
    );
    if env::var("ALEXNET_REQUIRE_CUDA").is_ok_and(|value| value == "1") {
        Verdict::Failed.code()
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, Failed, Passed, Unfinished};

    #[test]
    fn the_worst_verdict_counts() {
        let all = |verdicts: &[Verdict]| verdicts.iter().fold(Passed, |all, one| all.and(*one));
        assert_eq!(all(&[Passed, Passed]), Passed);
        assert_eq!(all(&[Passed, Unfinished, Passed]), Unfinished);
        assert_eq!(all(&[Unfinished, Failed, Passed]), Failed);
    }
}
