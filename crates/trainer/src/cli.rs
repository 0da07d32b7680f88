//! What can be typed.

mod around;
mod datasets;
mod exif;
mod labelling;
mod machine;
mod reproducing;
mod sharing;
mod using;

pub use around::{CompletionsArgs, DoctorArgs, InspectArgs, ManArgs};
pub use datasets::{DataArgs, DataCommand, KeepArg, PrepareArgs, ShowArgs, StatsArgs, VerifyArgs};
pub use exif::ExifArg;
pub use labelling::{LabellingArgs, check as check_labelling};
pub use machine::{MachineArgs, OutputArgs};
pub use reproducing::ReproduceArgs;
pub use sharing::{Exchange, Parallel};
pub use using::{
    EvalArgs, FeaturesArgs, NeighboursArgs, PartArg, PredictArgs, ReportArgs, ServeArgs, UsingArgs,
    ViewsArg,
};

use crate::vendor::Vendor;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// At the foot of the program's own help page.
const FIRST_STEPS: &str = "\
Examples:
  alexnet train --run runs/first                minutes; Ctrl-C stops, and it goes on:
  alexnet train --resume runs/first
  alexnet eval --run runs/first --views ten
  alexnet predict photo.jpg --run runs/first
  alexnet report runs/first

Exit codes:
  0  done                           5  diverged: some number is no longer finite
  1  failure at run time            6  the device asked for cannot be used
  2  wrong usage or configuration   7  a file cannot be written, or the disk is full
  3  the data cannot be used      129  stopped by a hang-up (lost terminal), checkpoint written
  4  weights or checkpoints       130  stopped by an interrupt (Ctrl-C), checkpoint written
     cannot be read               143  stopped by a request to terminate, checkpoint written";

/// AlexNet, trained and tested from one program.
#[derive(Debug, Parser)]
#[command(name = "alexnet", version, about, after_help = FIRST_STEPS, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network; without arguments, alexnet-64 on generated shapes
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(Box<TrainArgs>),
    /// Test a trained network
    #[command(after_help = using::EVAL_EXAMPLES)]
    Eval(EvalArgs),
    /// Say what images show
    #[command(after_help = using::PREDICT_EXAMPLES)]
    Predict(PredictArgs),
    /// Write what a layer makes of every image: vectors for other programs
    #[command(after_help = using::FEATURES_EXAMPLES)]
    Features(FeaturesArgs),
    /// Find the training images that look most like others to a network
    #[command(after_help = using::NEIGHBOURS_EXAMPLES)]
    Neighbours(NeighboursArgs),
    /// Show one or more runs on one page that needs nothing else
    #[command(after_help = using::REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Show a network at work on a page of your own: drop an image, see what it makes of it
    #[command(after_help = using::SERVE_HELP)]
    Serve(ServeArgs),
    /// Run one of the paper's experiments, and write down what comes out
    #[command(after_help = reproducing::EXAMPLES)]
    Reproduce(ReproduceArgs),
    /// Show a model row by row, or list models and recipes
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(DescribeArgs),
    /// Check, measure or show a data set
    #[command(after_help = datasets::DATA_EXAMPLES)]
    Data(DataArgs),
    /// Say what weights, a checkpoint, metrics or a run hold, and whether they are intact
    #[command(
        after_help = "Example:\n  alexnet inspect runs/paper/checkpoints/step-00001000.safetensors"
    )]
    Inspect(InspectArgs),
    /// Say what this machine offers, and what would stand in a run's way
    #[command(after_help = "Example:\n  alexnet doctor --data imagenet --runs runs")]
    Doctor(DoctorArgs),
    /// Print a script that completes commands and flags in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print this program's manual page, or write one for every command
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  alexnet train                                             alexnet-64 on generated shapes
  alexnet train --data cifar-10-batches-bin --model cifar-19pct
  alexnet train --data imagenet --model alexnet --epochs 90
  alexnet train --set recipe.layers.conv2.biases='constant 0' --set recipe.momentum=0.8
  alexnet train --data photos --init runs/imagenet --freeze 'conv*'
  alexnet train --resume RUN                                goes on, to the same bits
  alexnet train --resume RUN --epochs 120 --lr 0.001
  mpirun -np 4 alexnet train --parallel data                four processes, on one host or more
  torchrun --no-python --nproc-per-node 4 alexnet train --parallel data

Ctrl-C (or SIGTERM) finishes the step, writes a checkpoint and ends with 130 (143); once more ends
at once. So does a hang-up (SIGHUP: 129), unless it was started with nohup. SIGUSR1 writes a
checkpoint and goes on. Output that cannot be written ends no run. Whatever ended a run, --resume
goes on from its last checkpoint. `alexnet --help` lists all exit codes.";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  alexnet describe                              list models and recipes
  alexnet describe --model alexnet              rows, shapes, parameters, MACs, memory
  alexnet describe --model alexnet --batch-size 256 --parallel data --device cuda:0,cuda:1
  alexnet describe --model alexnet --picture alexnet.svg    the paper's figure 2, of any network
  alexnet describe --model alexnet > net.toml --toml
  alexnet describe --recipe paper               a recipe in TOML, to edit and pass to --config";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  alexnet completions bash > ~/.local/share/bash-completion/completions/alexnet
  alexnet completions zsh > ~/.zfunc/_alexnet
  alexnet completions fish > ~/.config/fish/completions/alexnet.fish

Bash reads its file by itself; zsh needs the folder in its fpath: fpath+=~/.zfunc";

const MAN_EXAMPLES: &str = "\
Examples:
  alexnet man > alexnet.1                       the page of the program itself
  alexnet man ~/.local/share/man/man1           a page for every command: man alexnet-train";

/// `alexnet train`.
#[derive(Debug, Default, Args)]
pub struct TrainArgs {
    /// Model: a built-in name or a TOML file [default: alexnet-64]
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// How to train: a built-in recipe [default: the model's own]
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// `shapes` (generated), a folder of images (train/CLASS/* and others: docs/data.md), an
    /// archive of one, CIFAR, MNIST, or parquet files of images [default: shapes]
    #[arg(long, value_name = "shapes|DIR|FILE")]
    pub data: Option<String>,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// What is done about the EXIF orientation of image files; the weights keep it
    /// [default: ignore]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Folder of this run, new or empty [default: runs/TIME-MODEL-xxxx]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Go on with the run in this folder, from its last checkpoint, to the bits that it would have
    /// come to uninterrupted. Epochs, steps, threads, workers, checkpoints and, with --lr, the rate
    /// may be given anew
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run", "config"])]
    pub resume: Option<PathBuf>,
    /// Write a checkpoint after every so many steps too [default: after validations that are the
    /// best or a minute apart, and every ten minutes]
    #[arg(long, value_name = "STEPS",
        value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
    pub every: Option<u64>,
    /// Keep this many of the newest checkpoints, besides the best [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Passes over the training set
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Stop after so many steps
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub max_steps: Option<u64>,
    /// Images a step
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate that the schedule starts from
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Names every random draw; the same seed gives the same bits [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Settings in TOML: any part of a run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, by its name in config.toml; stronger than --config, weaker than the flags
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Learn the first N training images by heart, without augmentation: can this network learn at
    /// all?
    #[arg(long, value_name = "N")]
    pub overfit: Option<usize>,
    /// Validate on the last of every N training images, and do not learn from them
    #[arg(long, value_name = "N", conflicts_with = "overfit")]
    pub hold_out: Option<usize>,
    /// Begin with what another run learned: its folder (while it has no weights, its newest
    /// checkpoint is taken), or a file of weights. A last layer for another number of classes
    /// starts anew. From its first checkpoint on the new run needs nothing of the other
    #[arg(long, value_name = "RUN|FILE")]
    pub init: Option<PathBuf>,
    /// Of these layers only; * stands for any run of letters
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "init")]
    pub init_layers: Vec<String>,
    /// Leave these layers as they begin; * stands for any run of letters
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub freeze: Vec<String>,
    /// Train on N random images: for timing
    #[arg(long, value_name = "N", conflicts_with = "data")]
    pub fake_data: Option<usize>,
    /// How the devices of --device share the work, or the processes that mpirun started, with a
    /// device each: --device cpu,cpu --parallel data
    #[arg(long, value_enum, value_name = "MODE")]
    pub parallel: Option<Parallel>,
    /// Cut every batch into N micro-shards, a power of two that devices share; one device makes one
    /// after the other, in less memory. A part of the recipe, as it decides bits [default: 8 with
    /// --parallel data or hybrid, else 1]
    #[arg(long, value_name = "N")]
    pub micro_shards: Option<usize>,
    /// By which way the devices of --device exchange [default: host]
    #[arg(long, value_enum, value_name = "WAY")]
    pub exchange: Option<Exchange>,
    /// Whose libraries a GPU's convolutions and fully connected layers use [default: none]
    #[arg(long, value_enum, value_name = "LIBRARY")]
    pub vendor: Option<Vendor>,
    /// Let no clock decide a run's bits: with --vendor tune, work in the ways that the run has or
    /// in those that rules name, and neither time any nor ask the cache of times
    #[arg(long)]
    pub deterministic: bool,
    /// What gradients travel as under --parallel data: f32, or rounded to bf16, half of the bytes.
    /// A part of the recipe, as it decides bits [default: f32]
    #[arg(long, value_name = "FORM")]
    pub wire: Option<String>,
    /// Multiply the learning rate by --batch-size over the recipe's own batch
    #[arg(long, conflicts_with_all = ["lr", "resume"])]
    pub scale_lr: bool,
    /// Print all settings as TOML and stop
    #[arg(long)]
    pub print_config: bool,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
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
    /// Show a recipe; with --model, tell what training by it takes [default: the model's own]
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// Images a step: memory is told of the run that `train` would begin with the same words
    /// [default: the recipe's]
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
    /// As in `train`; a GPU need not be there [default: auto, and cpu,cpu with --parallel]
    #[arg(long, value_name = "DEVICE", requires = "model")]
    pub device: Option<String>,
    /// As in `train`; a processor that multiplies in bf16 need not be there, either
    #[arg(long, value_name = "PRECISION", requires = "model")]
    pub precision: Option<String>,
    /// Threads that compute; 0: one for each core [default: 0]
    #[arg(long, value_name = "N", requires = "model",
        value_parser = crate::limits::threads)]
    pub threads: Option<usize>,
    /// Show what each device has, and what crosses between them
    #[arg(long, value_enum, value_name = "MODE", requires = "model")]
    pub parallel: Option<Parallel>,
    /// Draw the network, as the paper's figure 2 is drawn (.svg)
    #[arg(long, value_name = "FILE", requires = "model")]
    pub picture: Option<PathBuf>,
    /// Print the model as TOML
    #[arg(long, requires = "model", conflicts_with_all = ["parallel", "picture"])]
    pub toml: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
