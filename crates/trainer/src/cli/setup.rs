//! What is trained, and with which settings: arguments of `train` and `find-lr`.

use super::{ExifArg, LabellingArgs, MachineArgs, RecipeArgs};
use clap::Args;
use std::path::PathBuf;

/// The network, the images, the recipe and the initial weights.
#[derive(Clone, Debug, Default, Args)]
pub struct SetupArgs {
    /// Model: a built-in name or a TOML file [default: alexnet-64]
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// Training recipe: a built-in name [default: the model's recipe]
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// `shapes` (generated), a folder of images (train/CLASS/* and others: docs/data.md), an
    /// archive of one, CIFAR, MNIST, or parquet files of images [default: shapes]
    #[arg(long, value_name = "shapes|DIR|FILE")]
    pub data: Option<String>,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// Whether to apply the EXIF orientation of image files; saved with the weights
    /// [default: ignore]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Images per step
    #[arg(short, long, value_name = "N", alias = "batch")]
    pub batch_size: Option<usize>,
    /// Other settings of the recipe.
    #[command(flatten)]
    pub recipe_flags: RecipeArgs,
    /// Seed of all random draws; the same seed gives bit-identical results [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Settings in TOML: any part of a run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, by its name in config.toml; overrides --config, is overridden by other flags
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Hold out every Nth training image for validation
    #[arg(long, value_name = "N")]
    pub hold_out: Option<usize>,
    /// Initialise with the weights of another run (its folder; without weights its newest
    /// checkpoint), or of a weights file of this program, PyTorch, safetensors, Caffe, ONNX or
    /// NumPy; `torchvision` is the file that torchvision has downloaded. Images are normalised as
    /// there. The last layer is reinitialised if it does not have all classes of the data. After
    /// its first checkpoint the new run does not need the other one
    #[arg(long, value_name = "RUN|FILE", group = "initial")]
    pub init: Option<PathBuf>,
    /// The same as --init torchvision
    #[arg(long, group = "initial")]
    pub pretrained: bool,
    /// The mean that the network in another program's file subtracts from images, as --mean of
    /// `predict`
    #[arg(long, value_name = "FILE", requires = "initial")]
    pub init_mean: Option<PathBuf>,
    /// Initialise only these layers; * matches any characters
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "initial")]
    pub init_layers: Vec<String>,
    /// Do not train these layers, and keep their running statistics; * matches any characters
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub freeze: Vec<String>,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
}
