//! `alexnet data`: verbs that look at a data set before anything is trained on it.

mod prepare;
mod show;
mod stats;
mod verify;

use crate::cli::ExifArg;
use crate::cli::{DataArgs, DataCommand};
use crate::fault::Result;
use data::{DatasetOptions, ExifMode, Labelling};

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3 and 7 as `alexnet --help` lists them.
pub fn run(args: &DataArgs) -> Result<u8> {
    match &args.command {
        DataCommand::Prepare(args) => prepare::run(args),
        DataCommand::Verify(args) => verify::verify(args),
        DataCommand::Stats(args) => stats::stats(args).map(|()| 0),
        DataCommand::Show(args) => show::show(args).map(|()| 0),
    }
}

/// What is done about EXIF orientation: as was typed, or as a prepared folder has it.
fn exif_of(data: &str, typed: Option<ExifArg>) -> Result<ExifMode> {
    match typed {
        Some(typed) => Ok(typed.into()),
        None => Ok(data::stored_exif(data)?.unwrap_or_default()),
    }
}

/// Options to open images of `side` x `side` pixels without reading them into memory.
fn unread(side: usize, threads: usize, exif: ExifMode, labelling: Labelling) -> DatasetOptions {
    let options = DatasetOptions::with_side(side);
    DatasetOptions { threads, memory_limit: 0, exif, labelling, ..options }
}
