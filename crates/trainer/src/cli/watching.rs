//! Arguments of `watch`.

use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Examples:
  alexnet watch                                 the newest run in runs/
  alexnet watch runs/paper                      also of another process or machine, by its files
  alexnet watch runs/paper --once               the table and the progress, as text

Shows what the run writes into its folder: the curves of loss and errors, a table of validations
with the best one in bold, learning rate, images/s and the time left. Ends with the run; a run that
has ended is shown until you leave. q or Esc leaves, arrows and Page Up scroll the table. Leaving
does not stop the run. Where there is no terminal, as with --once.";

/// `alexnet watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// A run's folder [default: the newest in runs/]
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Print the table of validations and the progress once, as text
    #[arg(long)]
    pub once: bool,
}
