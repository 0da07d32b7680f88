//! Arguments of `alexnet find-lr`.

use super::{OutputArgs, SetupArgs, TrainArgs};
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  alexnet find-lr                                           alexnet-64 on generated shapes
  alexnet find-lr --data photos --model alexnet --to rates.svg
  alexnet find-lr --data photos --init torchvision --min 1e-6 --max 0.1 --steps 200
  alexnet find-lr --data photos --json                      for programs

Trains for --steps batches while the learning rate rises exponentially from --min to --max, and
stops when the smoothed loss is four times its lowest value. Prints two suggestions: the rate at
which the loss falls fastest, and a tenth of the rate at which it is lowest. No run is written and
no weights change. docs/tuning.md has the formulas.";

/// `alexnet find-lr`.
#[derive(Debug, Args)]
pub struct FindLrArgs {
    /// What to train, and with which settings.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// The learning rate of the first step
    #[arg(long, value_name = "X", default_value = "1e-7", allow_negative_numbers = true)]
    pub min: f64,
    /// The learning rate of the last step
    #[arg(long, value_name = "X", default_value = "1", allow_negative_numbers = true)]
    pub max: f64,
    /// The number of steps, one batch each
    #[arg(long, value_name = "N", default_value = "100")]
    pub steps: usize,
    /// The weight of earlier losses in the running mean, 0 to below 1
    #[arg(long, value_name = "X", default_value = "0.9", allow_negative_numbers = true)]
    pub smoothing: f64,
    /// Write the curve (.svg, .csv or .json)
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl FindLrArgs {
    /// The same arguments for `train`.
    pub fn as_train(&self) -> TrainArgs {
        TrainArgs { setup: self.setup.clone(), ..TrainArgs::default() }
    }
}
