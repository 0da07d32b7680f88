//! Arguments of `alexnet find-lr`.

use super::{ExifArg, LabellingArgs, MachineArgs, OutputArgs, RecipeArgs, TrainArgs};
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
    /// As in `train`
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// As in `train`
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// As in `train`
    #[arg(long, value_name = "shapes|DIR|FILE")]
    pub data: Option<String>,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// As in `train`
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
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
    /// As in `train`
    #[arg(short, long, value_name = "N", alias = "batch")]
    pub batch_size: Option<usize>,
    /// Settings of the recipe.
    #[command(flatten)]
    pub recipe_flags: RecipeArgs,
    /// As in `train` [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// As in `train`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// As in `train`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// As in `train`
    #[arg(long, value_name = "N")]
    pub hold_out: Option<usize>,
    /// As in `train`
    #[arg(long, value_name = "RUN|FILE", group = "initial")]
    pub init: Option<PathBuf>,
    /// The same as --init torchvision
    #[arg(long, group = "initial")]
    pub pretrained: bool,
    /// As in `train`
    #[arg(long, value_name = "FILE", requires = "initial")]
    pub init_mean: Option<PathBuf>,
    /// As in `train`
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "initial")]
    pub init_layers: Vec<String>,
    /// As in `train`
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub freeze: Vec<String>,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl FindLrArgs {
    /// The same arguments for `train`.
    pub fn as_train(&self) -> TrainArgs {
        TrainArgs {
            model: self.model.clone(),
            recipe: self.recipe.clone(),
            data: self.data.clone(),
            labelling: self.labelling.clone(),
            exif: self.exif,
            batch_size: self.batch_size,
            recipe_flags: self.recipe_flags.clone(),
            seed: self.seed,
            config: self.config.clone(),
            set: self.set.clone(),
            hold_out: self.hold_out,
            init: self.init.clone(),
            pretrained: self.pretrained,
            init_mean: self.init_mean.clone(),
            init_layers: self.init_layers.clone(),
            freeze: self.freeze.clone(),
            machine: self.machine.clone(),
            ..TrainArgs::default()
        }
    }
}
