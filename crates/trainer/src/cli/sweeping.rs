//! Arguments of `alexnet sweep`.

use super::{MachineArgs, OutputArgs};
use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Examples:
  alexnet sweep rates.toml                                  results in runs/sweep-rates
  alexnet sweep rates.toml --dry-run                        list the trials
  alexnet sweep rates.toml --out runs/rates --device cuda:0

A file for successive halving over two settings:

  [sweep]
  method = \"halving\"                    grid, random or halving
  trials = 27
  metric = \"validation error\"           or \"validation loss\", \"top-5 error\"
  [train]                               flags of `alexnet train`
  data = \"photos\"
  model = \"alexnet-64\"
  epochs = 9
  [parameters.\"recipe.rate\"]            any name that --set takes
  log-uniform = [1e-4, 1e-1]
  [parameters.\"recipe.momentum\"]
  values = [0.8, 0.9]                   or uniform = [a, b], int = [a, b]

Every trial is an ordinary run in the sweep's folder. The same command resumes an interrupted sweep:
finished trials are not repeated. A trial that diverges is a result. docs/tuning.md has more.";

/// `alexnet sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// What to try, in TOML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Folder of the trials and the results, new or of this sweep [default: runs/sweep-FILE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Check the file and the settings of every trial, list the trials and exit
    #[arg(long)]
    pub dry_run: bool,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}
