//! `alexnet data verify`: the data set opened as for training, every file decoded, and what is
//! wrong.

use super::{exif_of, unread};
use crate::cli::VerifyArgs;
use crate::console;
use crate::fault::Result;
use data::verify::{self, Finding, FindingKind, VerifyReport};
use data::{Dataset, Labelling};
use files::escape::on_one_line;
use report::grouped;
use serde_json::json;
use std::path::Path;
use terminal::progress::Reading;

/// The exit code where some file cannot be used.
const UNUSABLE: u8 = 3;

/// Side of the squares that files of their own size are opened as; it decides nothing.
const SIDE: usize = 64;

/// Runs the command; 3 if the data set cannot be opened, or some file cannot be trained on.
///
/// # Errors
/// Exit code 2 for labels that make no sense, 3 if there is nothing to look at.
pub fn verify(args: &VerifyArgs) -> Result<u8> {
    let labelling = args.labelling.to_labelling()?;
    let (report, notes) = checked(args, labelling)?;
    console::result(args.output.json, || as_json(&report, &notes), || as_text(&report, &notes))?;
    Ok(if report.unusable() == 0 { 0 } else { UNUSABLE })
}

/// What is found, by opening the data set as training does and by reading every file; and what
/// training would say of it.
fn checked(args: &VerifyArgs, labelling: Labelling) -> Result<(VerifyReport, Vec<String>)> {
    let reading = Reading::new(args.output.progress);
    let progress = |done, of| reading.say("files checked", done, of);
    let threads = args.workers.unwrap_or(0);
    let own = data::stored_side(&args.data);
    let side = own.clone().ok().flatten().unwrap_or(SIDE);
    let exif = exif_of(&args.data, args.exif).unwrap_or_default(); // opening reports the error
    let opening = unread(side, threads, exif, labelling);
    let opened = data::open(&args.data, &opening, &|_, _| ());
    if let Err(error @ data::Error::NotFound { .. }) = opened {
        return Err(error.into());
    }
    let mut report = match (&opened, own) {
        (Ok(set), Ok(Some(_))) => sources(set, threads, &progress),
        (_, Ok(None)) => {
            let smaller_than = args.smaller_than.unwrap_or(0);
            let options = verify::VerifyOptions { smaller_than, threads, exif };
            let report = match verify::folder(Path::new(&args.data), options, &progress) {
                Err(_) if opened.is_err() => VerifyReport::default(), // the other error is reported
                report => report?,
            };
            match &opened {
                // Images inside other files.
                Ok(set) if report.files == 0 => sources(set, threads, &progress),
                _ => report,
            }
        }
        (Err(_), _) | (_, Err(_)) => VerifyReport::default(),
    };
    match opened {
        Ok(set) => Ok((report, set.notes)),
        Err(error) => {
            report.add_layout(&args.data, &error);
            Ok((report, Vec::new()))
        }
    }
}

/// Reads every image of both sets.
fn sources(
    set: &Dataset,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> VerifyReport {
    let mut report = verify::source(&*set.train, threads, progress);
    let test = verify::source(&*set.test, threads, progress);
    report.files += test.files;
    report.findings.extend(test.findings);
    report
}

/// The kinds that were found, with their numbers.
fn counts(report: &VerifyReport) -> impl Iterator<Item = (FindingKind, usize)> {
    let count = |kind| (kind, report.count(kind));
    FindingKind::ALL.into_iter().map(count).filter(|&(_, count)| count > 0)
}

fn as_json(report: &VerifyReport, notes: &[String]) -> serde_json::Value {
    let finding = |Finding { name, kind, detail }: &Finding| json!({ "name": name, "kind": kind.name(), "detail": detail });
    let findings: Vec<_> = report.findings.iter().map(finding).collect();
    let kinds: serde_json::Map<_, _> =
        counts(report).map(|(kind, count)| (kind.name().to_string(), count.into())).collect();
    json!({
        "files": report.files,
        "unusable": report.unusable(),
        "kinds": kinds,
        "findings": findings,
        "notes": notes,
    })
}

fn as_text(report: &VerifyReport, notes: &[String]) -> String {
    let mut text: String = notes.iter().map(|note| format!("{note}\n")).collect();
    for finding in &report.findings {
        let Finding { name, kind, detail } = finding;
        text += &format!("{:<13}  {}: {detail}\n", kind.name(), on_one_line(name));
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
