//! `alexnet data`: verbs that look at a data set before anything is trained on it.

mod prepare;
mod show;
mod stats;
mod verify;

use crate::cli::{DataArgs, DataCommand};
use crate::fault::Result;

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
