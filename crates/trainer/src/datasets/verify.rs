//! `alexnet data verify`: every file decoded, and what is wrong with it.

use crate::cli::VerifyArgs;
use crate::console;
use crate::describe::grouped;
use crate::fault::{Fault, Result};
use crate::progress::Reading;
use data::verify::{self, Kind, Report};
use serde_json::json;
use std::path::Path;

/// The exit code where some file cannot be used.
const UNUSABLE: u8 = 3;

/// Runs the command; 3 if some file cannot be trained on.
///
/// # Errors
/// Exit code 3 if there is nothing to look at.
pub fn verify(args: &VerifyArgs) -> Result<u8> {
    let reading = Reading::new(args.output.progress);
    let tell = |done, of| reading.say("files checked", done, of);
    let options = verify::Options {
        smaller_than: args.smaller_than.unwrap_or(0),
        threads: args.workers.unwrap_or(0),
    };
    let report = match data::stored_side(&args.data)? {
        None => verify::folder(Path::new(&args.data), options, &tell)?,
        Some(side) => {
            let options = data::Options { memory_limit: 0, ..data::Options::with_side(side) };
            let set = data::open(&args.data, &options, &|_, _| ())?;
            let mut report = verify::source(&*set.train, args.workers.unwrap_or(0), &tell);
            let test = verify::source(&*set.test, args.workers.unwrap_or(0), &tell);
            report.files += test.files;
            report.findings.extend(test.findings);
            report
        }
    };
    if report.files == 0 {
        let message = format!("{}: no image file below it", args.data);
        return Err(Fault { code: UNUSABLE, message });
    }
    if args.output.json {
        console::println(as_json(&report))?;
    } else {
        console::print(as_text(&report))?;
    }
    Ok(if report.unusable() == 0 { 0 } else { UNUSABLE })
}

/// The kinds that were found, with their numbers.
fn counts(report: &Report) -> impl Iterator<Item = (Kind, usize)> {
    let count = |kind| (kind, report.count(kind));
    Kind::ALL.into_iter().map(count).filter(|&(_, count)| count > 0)
}

fn as_json(report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "name": finding.name,
                "kind": finding.kind.name(),
                "detail": finding.detail,
            })
        })
        .collect();
    let kinds: serde_json::Map<_, _> =
        counts(report).map(|(kind, count)| (kind.name().to_string(), count.into())).collect();
    json!({
        "files": report.files,
        "unusable": report.unusable(),
        "kinds": kinds,
        "findings": findings,
    })
}

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text += &format!("{:<13}  {}: {}\n", finding.kind.name(), finding.name, finding.detail);
    }
    if !report.findings.is_empty() {
        text += &format!("\n{:<13}  {:>9}\n", "kind", "files");
    }
    for (kind, count) in counts(report) {
        let consequence = if kind.is_unusable() { "unusable" } else { "usable" };
        text += &format!("{:<13}  {:>9}  {consequence}\n", kind.name(), grouped(count));
    }
    let (files, unusable) = (report.files, report.unusable());
    let s = if files == 1 { "" } else { "s" };
    text + &format!("{} file{s}, {} unusable\n", grouped(files), grouped(unusable))
}
