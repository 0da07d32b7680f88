//! The command line.

mod around;
mod datasets;
mod distance;
mod elsewhere;
mod exif;
mod explaining;
mod exporting;
mod finding;
mod labelling;
mod layout;
mod machine;
mod network;
mod recipe_flags;
mod reproducing;
mod setup;
mod sharing;
mod sweeping;
mod tracking;
mod using;
mod watching;

pub use around::{CompletionsArgs, DoctorArgs, InspectArgs, ManArgs};
pub use datasets::{DataArgs, DataCommand, KeepArg, PrepareArgs, ShowArgs, StatsArgs, VerifyArgs};
pub use distance::DistanceArgs;
pub use elsewhere::with_hint;
pub use exif::ExifArg;
pub use explaining::ExplainArgs;
pub use exporting::{ExportArgs, ExportFormatArg};
pub use finding::FindLrArgs;
pub use labelling::{LabellingArgs, check as check_labelling};
pub use machine::{MachineArgs, OutputArgs};
pub use network::{ImportArgs, NetworkArgs};
pub use recipe_flags::RecipeArgs;
pub use reproducing::ReproduceArgs;
pub use setup::SetupArgs;
pub use sharing::{Exchange, Parallel};
pub use sweeping::SweepArgs;
pub use tracking::TrackArgs;
pub use using::{
    EvalArgs, FeaturesArgs, NeighboursArgs, PartArg, PredictArgs, ReportArgs, ServeArgs, UsingArgs,
    ViewsArg,
};
pub use watching::WatchArgs;

use crate::vendor::Vendor;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The end of the program's help page.
const FIRST_STEPS: &str = "\
Examples:
  alexnet train --run runs/first                takes minutes; Ctrl-C stops it; to resume:
  alexnet train --resume runs/first
  alexnet eval --run runs/first --views ten
  alexnet predict photo.jpg --run runs/first
  alexnet report runs/first

Exit codes:
  0  success                        5  diverged: a value is NaN or infinite
  1  failure at run time            6  the requested device cannot be used
  2  wrong usage or configuration   7  a file cannot be written, or the disk is full
  3  the data cannot be used      129  stopped by SIGHUP (lost terminal), checkpoint written
  4  weights or checkpoints       130  stopped by SIGINT (Ctrl-C), checkpoint written
     cannot be read               143  stopped by SIGTERM, checkpoint written";

/// Train, test and explain AlexNet and related networks.
#[derive(Debug, Parser)]
#[command(name = "alexnet", version, about, after_help = FIRST_STEPS, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network (by default alexnet-64 on generated shapes)
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(Box<TrainArgs>),
    /// Find a learning rate: train some steps while it rises, and show the loss
    #[command(after_help = finding::EXAMPLES)]
    FindLr(Box<FindLrArgs>),
    /// Train with many settings, in search of the best: grid, random, successive halving
    #[command(after_help = sweeping::HELP)]
    Sweep(SweepArgs),
    /// Watch a run on the whole screen: curves, validations, progress
    #[command(after_help = watching::HELP)]
    Watch(WatchArgs),
    /// Test a trained network
    #[command(after_help = using::EVAL_EXAMPLES)]
    Eval(EvalArgs),
    /// Classify images
    #[command(after_help = using::PREDICT_EXAMPLES)]
    Predict(PredictArgs),
    /// Write layers' outputs for images, as feature vectors and maps
    #[command(after_help = using::FEATURES_EXAMPLES)]
    Features(FeaturesArgs),
    /// Find the training images with the most similar features
    #[command(after_help = using::NEIGHBOURS_EXAMPLES)]
    Neighbours(NeighboursArgs),
    /// Show what a prediction depends on, or what a kernel responds to
    #[command(after_help = explaining::HELP)]
    Explain(ExplainArgs),
    /// Measure the perceptual distance (LPIPS) of two images
    #[command(after_help = distance::EXAMPLES)]
    Distance(DistanceArgs),
    /// Write an HTML page about one or more runs
    #[command(after_help = using::REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Serve a network over HTTP, with a page that classifies images
    #[command(after_help = using::SERVE_HELP)]
    Serve(ServeArgs),
    /// Write a network for other programs: PyTorch, ONNX, safetensors, NumPy
    #[command(after_help = exporting::EXAMPLES)]
    Export(ExportArgs),
    /// Write runs for experiment trackers: MLflow, TensorBoard
    #[command(after_help = tracking::HELP)]
    Track(TrackArgs),
    /// Run one of the paper's experiments and write the results
    #[command(after_help = reproducing::EXAMPLES)]
    Reproduce(ReproduceArgs),
    /// Show a model's layers, or list models and recipes
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(DescribeArgs),
    /// Prepare, check, measure or show a data set
    #[command(after_help = datasets::DATA_EXAMPLES)]
    Data(DataArgs),
    /// Show the contents of weights, a checkpoint, metrics or a run, and check that they are intact
    #[command(
        after_help = "Example:\n  alexnet inspect runs/paper/checkpoints/step-00001000.safetensors"
    )]
    Inspect(InspectArgs),
    /// Check this machine for training: processor, memory, GPU, disk
    #[command(after_help = "Example:\n  alexnet doctor --data imagenet --runs runs")]
    Doctor(DoctorArgs),
    /// Print a shell completion script
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write manual pages of all commands
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  alexnet train                                             alexnet-64 on generated shapes
  alexnet train --data cifar-10-batches-bin --model cifar-19pct
  alexnet train --data imagenet --model alexnet --epochs 90
  alexnet train --set recipe.layers.conv2.biases='constant 0' --set recipe.momentum=0.8
  alexnet train --lr-schedule steps --set recipe.schedule.after='[30, 60]' --weight-decay 1e-4
  alexnet train --data photos --optimizer adamw --lr 3e-4 --lr-schedule cosine --warmup 2 -b 64
  alexnet train --set recipe.clip-norm=1 --early-stopping 5  docs/optimizers.md
  alexnet train --set recipe.augment.rand-augment={} --set recipe.label-smoothing=0.1
  alexnet train --set recipe.augment.mixup=0.2              docs/augmentation.md
  alexnet train --data photos --init runs/imagenet --freeze 'conv*'
  alexnet train --data photos --init torchvision --freeze 'conv*'       docs/finetune.md
  alexnet train --data photos --init torchvision --recipe finetune-head --epochs 5
  alexnet train --resume RUN                                bit-identical to an uninterrupted run
  alexnet train --resume RUN --epochs 120 --lr 0.001
  mpirun -np 4 alexnet train --parallel data                four processes, on one or more hosts
  torchrun --no-python --nproc-per-node 4 alexnet train --parallel data

Ctrl-C (or SIGTERM) finishes the step, writes a checkpoint and exits with 130 (143); a second one
ends the program at once. SIGHUP does the same with exit code 129, unless it was started with nohup.
SIGUSR1 writes a checkpoint and continues. A run continues if its output cannot be written. --resume
continues an ended run from its last checkpoint. `alexnet --help` lists all exit codes.";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  alexnet describe                              list models and recipes
  alexnet describe --model alexnet              rows, shapes, parameters, MACs, memory
  alexnet describe --model alexnet --batch-size 256 --parallel data --device cuda:0,cuda:1
  alexnet describe --model alexnet --picture alexnet.svg    a diagram like the paper's Figure 2
  alexnet describe --model alexnet > net.toml --toml
  alexnet describe --recipe paper               a recipe in TOML, to edit and pass to --config";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  alexnet completions bash > ~/.local/share/bash-completion/completions/alexnet
  alexnet completions zsh > ~/.zfunc/_alexnet
  alexnet completions fish > ~/.config/fish/completions/alexnet.fish

Bash loads its file automatically; zsh needs the folder in its fpath: fpath+=~/.zfunc";

const MAN_EXAMPLES: &str = "\
Examples:
  alexnet man > alexnet.1                       the program's main page
  alexnet man ~/.local/share/man/man1           a page for every command: man alexnet-train";

/// `alexnet train`.
#[derive(Debug, Default, Args)]
pub struct TrainArgs {
    /// What to train, and with which settings.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Folder of this run, new or empty [default: runs/TIME-MODEL-xxxx]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Resume the run in this folder from its last checkpoint; results are bit-identical to an
    /// uninterrupted run. Epochs, steps, threads, workers, checkpoints and, with --lr, the learning
    /// rate may be changed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run", "config"])]
    pub resume: Option<PathBuf>,
    /// Also write a checkpoint every STEPS steps [default: after validations that are the best so
    /// far or a minute after the last checkpoint, and every ten minutes]
    #[arg(long, value_name = "STEPS",
        value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
    pub every: Option<u64>,
    /// Keep this many of the newest checkpoints, besides the best [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Passes over the training set
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Stop after N steps
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub max_steps: Option<u64>,
    /// Initial learning rate of the schedule
    #[arg(long, value_name = "X", alias = "learning-rate", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Overfit N of the training images, evenly spaced, without augmentation, to test whether the
    /// network can learn at all
    #[arg(long, value_name = "N", conflicts_with = "hold_out")]
    pub overfit: Option<usize>,
    /// Train on N random images, for timing
    #[arg(long, value_name = "N", conflicts_with = "data")]
    pub fake_data: Option<usize>,
    /// How the devices of --device share the work, or the processes of a launcher with one device
    /// each: --device cpu,cpu --parallel data
    #[arg(long, value_enum, value_name = "MODE")]
    pub parallel: Option<Parallel>,
    /// Divide every batch into N micro-shards, a power of two; devices share them, one device
    /// computes one after the other, in less memory. Part of the recipe, as it affects results
    /// [default: 8 with --parallel data or hybrid, else 1]
    #[arg(long, value_name = "N")]
    pub micro_shards: Option<usize>,
    /// How the devices of --device exchange data [default: host]
    #[arg(long, value_enum, value_name = "METHOD")]
    pub exchange: Option<Exchange>,
    /// The libraries for a GPU's convolutions and fully connected layers [default: none]
    #[arg(long, value_enum, value_name = "LIBRARY")]
    pub vendor: Option<Vendor>,
    /// With --vendor tune, use the run's saved choices or fixed heuristics instead of timings and
    /// the cache of timings
    #[arg(long)]
    pub deterministic: bool,
    /// Format in which gradients are exchanged with --parallel data: f32, or bf16 for half of the
    /// bytes. Part of the recipe, as it affects results [default: f32]
    #[arg(long, value_name = "FORM")]
    pub wire: Option<String>,
    /// Multiply the learning rate by --batch-size divided by the recipe's batch size
    #[arg(long, conflicts_with_all = ["lr", "resume"])]
    pub scale_lr: bool,
    /// Print all settings as TOML and exit
    #[arg(long)]
    pub print_config: bool,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `alexnet describe`.
#[derive(Debug, Default, Args)]
pub struct DescribeArgs {
    /// A built-in name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// Show a recipe; with --model, the memory of training with it [default: the model's recipe]
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// Images per step, for the memory that `train` would use [default: the recipe's]
    #[arg(long, value_name = "N", requires = "model")]
    pub batch_size: Option<usize>,
    /// As in `train`
    #[arg(long, value_name = "N", requires = "model")]
    pub micro_shards: Option<usize>,
    /// As in `train`
    #[arg(long, value_name = "FILE", requires = "model")]
    pub config: Option<PathBuf>,
    /// As in `train`
    #[arg(long, value_name = "KEY=VALUE", requires = "model")]
    pub set: Vec<String>,
    /// As in `train`; a GPU need not exist [default: auto, and cpu,cpu with --parallel]
    #[arg(long, value_name = "DEVICE", requires = "model")]
    pub device: Option<String>,
    /// As in `train`; a processor with bf16 need not exist
    #[arg(long, value_name = "PRECISION", requires = "model")]
    pub precision: Option<String>,
    /// Compute threads; 0: one per core [default: 0]
    #[arg(long, value_name = "N", requires = "model",
        value_parser = crate::limits::threads)]
    pub threads: Option<usize>,
    /// Show each device's share, and the data exchanged between them
    #[arg(long, value_enum, value_name = "MODE", requires = "model")]
    pub parallel: Option<Parallel>,
    /// Draw the network as in the paper's Figure 2 (.svg)
    #[arg(long, value_name = "FILE", requires = "model")]
    pub picture: Option<PathBuf>,
    /// Print the model as TOML
    #[arg(long, requires = "model", conflicts_with_all = ["parallel", "picture"])]
    pub toml: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
