//! `cargo xtask gpu-check`: everything that only a GPU can show, from this one file.
//!
//! Each section runs in a process of its own and is ended when its time is over: a kernel that
//! hangs, or a GPU that fails, costs its section and no other. What a section prints is its part
//! of the report, which is written after each; progress goes to standard error.
#![forbid(unsafe_code)]

mod bits;
mod budget;
mod cli;
mod curves;
mod exchange;
mod gpu;
mod peer;
mod suites;
mod times;
mod vendor;

use budget::{Budget, Ended};
use clap::Parser;
use cli::{Cli, Section};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};
use tensor::{Choice, Device};

/// Exit code: nothing was found wrong, but some section did not come to its end.
const UNFINISHED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.section {
        Some(section) => run(section, &cli),
        None => all(&cli),
    };
    done.unwrap_or_else(|message| {
        eprintln!("gpu-check: {message}");
        println!("\nFAILED: {message}");
        Verdict::Failed.code()
    })
}

/// How a section ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// There was no time for all of it, or not what it needs.
    Unfinished,
}

impl Verdict {
    fn of(all_is_well: bool) -> Verdict {
        if all_is_well { Verdict::Passed } else { Verdict::Failed }
    }

    /// What a section's process says by its end.
    fn told(ended: Ended) -> Verdict {
        match ended {
            Ended::With(0) => Verdict::Passed,
            Ended::With(code) if code == i32::from(UNFINISHED) => Verdict::Unfinished,
            Ended::OutOfTime => Verdict::Unfinished,
            Ended::With(_) | Ended::BySignal => Verdict::Failed,
        }
    }

    /// As a process says it.
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Verdict::Passed => 0,
            Verdict::Failed => 1,
            Verdict::Unfinished => UNFINISHED,
        })
    }

    /// The graver of two.
    fn and(self, other: Verdict) -> Verdict {
        use Verdict::{Failed, Passed, Unfinished};
        match (self, other) {
            (Failed, _) | (_, Failed) => Failed,
            (Unfinished, _) | (_, Unfinished) => Unfinished,
            (Passed, Passed) => Passed,
        }
    }
}

/// One section, in the process that was started for it.
fn run(section: Section, cli: &Cli) -> Result<ExitCode, String> {
    let budget = Budget::new(cli.seconds);
    let verdict = match section {
        Section::Curves => curves::run(cli, &budget)?,
        Section::Repeats => bits::repeats(cli, &budget)?,
        Section::Replay => bits::replay(cli, &budget)?,
        Section::Nccl => exchange::run(cli)?,
        Section::Vendor => vendor::run(cli, &budget)?,
        Section::Times => times::run(cli, &budget)?,
        Section::Peer => peer::run(cli, &budget)?,
        Section::Tests => suites::tests_on_gpu(cli, &budget)?,
        Section::Sanitizer => suites::sanitizer(cli, &budget)?,
    };
    Ok(verdict.code())
}

/// All sections that are wanted, one after the other.
fn all(cli: &Cli) -> Result<ExitCode, String> {
    let budget = Budget::new(cli.seconds);
    let name = match Device::open(Choice::Cuda(0), 0) {
        Ok(device) => gpu::name(&device),
        Err(error) => return Ok(no_gpu(cli, &error.to_string())),
    };
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let words: Vec<String> = env::args().skip(1).collect();
    let commit = env::var("ALEXNET_COMMIT").ok().or_else(|| built_from(cli));
    let commit = commit.map_or(String::new(), |commit| format!(" ({commit})"));
    let mut report = format!(
        "# On a GPU\n\n{}, {name}, alexnet {}{commit}: `gpu-check {}`\n",
        alexnet_benches::machine::today(),
        env!("CARGO_PKG_VERSION"),
        words.join(" "),
    );
    let mut verdicts = Vec::new();
    for section in cli.wanted() {
        let bound = section.bound().min(budget.left());
        let text = if bound < Duration::from_secs(2) {
            verdicts.push((section, Verdict::Unfinished, 0.0));
            "no time was left for it\n".to_string()
        } else {
            budget.say(&format!("{}: at most {:.0} s", section.name(), bound.as_secs_f64()));
            let mut child = std::process::Command::new(&program);
            child.args(&words).args(["--section", section.name()]);
            // It should stop by itself a little before it is ended.
            child.args(["--seconds", &format!("{:.2}", 0.9 * bound.as_secs_f64())]);
            let (ended, seconds, text) = budget::run(child, bound)?;
            let verdict = Verdict::told(ended);
            budget.say(&format!("{}: {verdict:?} after {seconds:.1} s", section.name()));
            verdicts.push((section, verdict, seconds));
            match ended {
                Ended::OutOfTime => text + "\nended here: its time was over\n",
                Ended::BySignal => text + "\nended here by a signal\n",
                Ended::With(_) => text,
            }
        };
        report += &format!("\n## {}\n\n{}\n", section.title(), text.trim());
        save(cli, &report)?;
    }
    report += "\n## All\n\n| section | | s |\n|---|---|---:|\n";
    for (section, verdict, seconds) in &verdicts {
        report += &format!("| {} | {verdict:?} | {seconds:.1} |\n", section.name());
    }
    save(cli, &report)?;
    print!("{report}");
    let verdict = verdicts.into_iter().fold(Verdict::Passed, |all, (_, one, _)| all.and(one));
    Ok(verdict.code())
}

fn save(cli: &Cli, report: &str) -> Result<(), String> {
    let path = cli.report();
    fs::write(&path, report).map_err(|error| format!("{}: {error}", path.display()))
}

/// The commit, where `cargo xtask gpu-check` has left it.
fn built_from(cli: &Cli) -> Option<String> {
    let text = fs::read_to_string(cli.folder().join("commit")).ok()?;
    Some(text.trim().to_string())
}

/// Without a GPU nothing can be checked, which must not look like success.
fn no_gpu(cli: &Cli, why: &str) -> ExitCode {
    println!("NO GPU: {why}\n\nWhat waits for one:");
    for section in cli.wanted() {
        println!("  {:<10} {}", section.name(), section.title());
    }
    println!(
        "\nCopy this folder to a machine with a GPU and run ./gpu-check there; it needs the \
         driver and nothing else."
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
    fn the_gravest_verdict_stays() {
        let all = |verdicts: &[Verdict]| verdicts.iter().fold(Passed, |all, one| all.and(*one));
        assert_eq!(all(&[Passed, Passed]), Passed);
        assert_eq!(all(&[Passed, Unfinished, Passed]), Unfinished);
        assert_eq!(all(&[Unfinished, Failed, Passed]), Failed);
    }
}
