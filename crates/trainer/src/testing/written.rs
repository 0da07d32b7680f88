//! The files that a test leaves, where they were asked for.

use crate::cli::EvalArgs;
use crate::fault::Result;
use crate::images::Images;
use crate::output;
use data::shards::Manifest;
use evaluate::predictions::Predictions;
use report::{Confusion, quality, reliability, tested};
use std::path::{Path, PathBuf};

const PREDICTIONS: [&str; 2] = ["csv", "jsonl"];
const CONFUSION: [&str; 4] = ["csv", "json", "svg", "png"];
const PER_CLASS: [&str; 2] = ["csv", "json"];
const RELIABILITY: [&str; 3] = ["csv", "json", "svg"];

/// Whether the files asked for can have the forms that their names ask for.
///
/// # Errors
/// Exit code 2.
pub fn check(args: &EvalArgs) -> Result<()> {
    let check = |path: &Option<PathBuf>, known: &[&str]| match path {
        Some(path) => output::ending(path, known).map(|_| ()),
        None => Ok(()),
    };
    check(&args.predictions, &PREDICTIONS)?;
    check(&args.confusion, &CONFUSION)?;
    check(&args.per_class, &PER_CLASS)?;
    check(&args.metrics, &PER_CLASS)?;
    check(&args.reliability, &RELIABILITY)
}

/// Writes what was asked for.
///
/// # Errors
/// Exit code 7.
pub fn write_files(args: &EvalArgs, images: &Images, predictions: &Predictions) -> Result<()> {
    let classes = images.test.classes();
    if let Some(path) = &args.predictions {
        match output::ending(path, &PREDICTIONS)? {
            "csv" => tested::write_csv(output::create(path)?, &*images.test, predictions)?,
            _ => tested::write_jsonl(output::create(path)?, &*images.test, predictions)?,
        }
    }
    if let Some(path) = &args.submission {
        let ids = Manifest::devkit_ids(Path::new(&images.name));
        let (file, count) = (output::create(path)?, images.test.len());
        tested::write_submission(file, count, ids.as_deref(), predictions)?;
    }
    if let Some(path) = &args.confusion {
        let confusion = Confusion::of(classes, predictions);
        let bytes = match output::ending(path, &CONFUSION)? {
            "csv" => confusion.to_csv().into_bytes(),
            "png" => report::picture::to_png(&confusion.draw()),
            "svg" => confusion.to_svg_file().into_bytes(),
            _ => format!("{}\n", confusion.to_json()).into_bytes(),
        };
        output::write(path, &bytes)?;
    }
    if let Some(path) = &args.per_class {
        let text = match output::ending(path, &PER_CLASS)? {
            "json" => format!("{:#}\n", tested::classes_json(classes, predictions)),
            _ => tested::classes_csv(classes, predictions),
        };
        output::write(path, text.as_bytes())?;
    }
    let quality = predictions.quality();
    if let Some(path) = &args.metrics {
        let text = match output::ending(path, &PER_CLASS)? {
            "json" => format!("{:#}\n", quality::to_json(&quality)),
            _ => quality::to_csv(&quality),
        };
        output::write(path, text.as_bytes())?;
    }
    if let Some(path) = &args.reliability {
        let text = match output::ending(path, &RELIABILITY)? {
            "json" => format!("{:#}\n", quality::bins_json(&quality.calibration)),
            "svg" => reliability::to_svg_file(&quality.calibration),
            _ => quality::bins_csv(&quality.calibration),
        };
        output::write(path, text.as_bytes())?;
    }
    Ok(())
}

/// A line for each file that was written.
pub fn names(args: &EvalArgs) -> String {
    let EvalArgs { predictions, submission, confusion, per_class, metrics, reliability, .. } = args;
    let written = [predictions, submission, confusion, per_class, metrics, reliability];
    let line = |path: &PathBuf| format!("written: {}\n", path.display());
    written.into_iter().flatten().map(line).collect()
}
