//! Arguments of `alexnet data`.

use super::{ExifArg, LabellingArgs, OutputArgs};
use clap::{Args, Subcommand, ValueEnum};
use data::verify::FindingKind;
use std::path::PathBuf;
use terminal::progress::Progress;

pub(super) const DATA_EXAMPLES: &str = "\
Examples:
  alexnet data verify imagenet --json           decode every file; exit code 3 if one is unusable
  alexnet data stats imagenet                   classes, sizes, mean colour, PCA of the colours
  alexnet data show shapes                      alexnet-64's input, in contact-sheet.png
  alexnet data show imagenet --model alexnet --set recipe.augment.resized={} --out crops.png";

/// `alexnet data`.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// The command.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// Commands on data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Pack ILSVRC's archives, a folder of images or another data set into shards
    #[command(after_help = PREPARE_EXAMPLES)]
    Prepare(PrepareArgs),
    /// Open the data set as `train` does, decode every file, and report problems
    #[command(after_help = verify_help())]
    Verify(VerifyArgs),
    /// Show images per class, image sizes, mean colour and the PCA of the colours
    #[command(after_help = STATS_EXAMPLES)]
    Stats(StatsArgs),
    /// Write a contact sheet of a network's training input
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
}

const PREPARE_EXAMPLES: &str = "\
Examples:
  alexnet data prepare --ilsvrc downloads --out imagenet    the three archives of 2012
  alexnet data prepare --from photos --out packed --side 64
  alexnet data prepare --from downloads --out raw --raw     pixels: 250 GB, no decoding
  alexnet train --data imagenet --model alexnet

The same command resumes an interrupted one; the same images give the same bytes.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  alexnet data verify imagenet
  alexnet data verify photos --smaller-than 64 --json";

/// The examples, and every kind that a finding may have.
fn verify_help() -> String {
    let (unusable, usable): (Vec<FindingKind>, Vec<FindingKind>) =
        FindingKind::ALL.into_iter().partition(|kind| kind.is_unusable());
    let listed = |kinds: Vec<FindingKind>| {
        let names: Vec<&str> = kinds.into_iter().map(FindingKind::name).collect();
        names.chunks(8).map(|line| format!("  {}\n", line.join(", "))).collect::<String>()
    };
    format!(
        "{VERIFY_EXAMPLES}\n\nKinds of findings (`kind` in JSON) that make a file unusable:\n{}\
         and other findings:\n{}",
        listed(unusable),
        listed(usable),
    )
}

const STATS_EXAMPLES: &str = "\
Examples:
  alexnet data stats imagenet
  alexnet data stats photos --side 64 --json";

const SHOW_EXAMPLES: &str = "\
Examples:
  alexnet data show shapes                      alexnet-64's input, in contact-sheet.png
  alexnet data show imagenet --model alexnet --rows 4 --columns 12 --seed 7 --out crops.png
  alexnet data show shapes --set recipe.augment.trivial-augment=true --out trivial.png";

/// `alexnet data prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Folder with ILSVRC-2012's or 2010's archives as they were downloaded, Tiny-ImageNet, images
    /// in folders named for their classes or parquet files; or a .zip, .tar or .tgz of a folder
    #[arg(long, visible_alias = "ilsvrc", value_name = "DIR|FILE")]
    pub from: PathBuf,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// Folder for the shards
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Shorter side of the stored images in pixels
    #[arg(long, value_name = "N", default_value = "256")]
    pub side: usize,
    /// The stored part of each image
    #[arg(long, value_enum, default_value = "centre", value_name = "WHAT")]
    pub keep: KeepArg,
    /// JPEG quality, 1 to 100
    #[arg(long, value_name = "N", default_value = "95", conflicts_with = "raw")]
    pub quality: u8,
    /// Store pixels instead of JPEGs
    #[arg(long)]
    pub raw: bool,
    /// Whether to apply the EXIF orientation of image files [default: ignore]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Images per shard
    #[arg(long, value_name = "N", default_value = "10000")]
    pub images_per_shard: usize,
    /// Do not check the archives' MD5
    #[arg(long)]
    pub skip_md5: bool,
    /// Threads; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::limits::workers)]
    pub workers: Option<usize>,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The stored part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeepArg {
    /// The square in the centre, as in the paper
    Centre,
    /// The whole image, for crops anywhere
    Whole,
}

/// `alexnet data verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// As in `train --data`; all image files below a folder are read
    #[arg(value_name = "DIR")]
    pub data: String,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// Whether to apply the EXIF orientation of image files [default: ignore, or as a prepared
    /// folder was made]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Report images whose shorter side has fewer pixels
    #[arg(long, value_name = "N")]
    pub smaller_than: Option<usize>,
    /// Threads; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::limits::workers)]
    pub workers: Option<usize>,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `alexnet data stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// As in `train --data`
    #[arg(value_name = "shapes|DIR")]
    pub data: String,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// Whether to apply the EXIF orientation of image files [default: ignore, or as a prepared
    /// folder was made]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Measure colours on centre squares of this side [default: 256, or as the images are stored]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub side: Option<u32>,
    /// Threads; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::limits::workers)]
    pub workers: Option<usize>,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `alexnet data show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// As in `train --data`
    #[arg(value_name = "shapes|DIR")]
    pub data: String,
    /// Labels and names.
    #[command(flatten)]
    pub labelling: LabellingArgs,
    /// Whether to apply the EXIF orientation of image files [default: ignore, or as a prepared
    /// folder was made]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Output file, a PNG
    #[arg(long, value_name = "FILE", default_value = "contact-sheet.png")]
    pub out: PathBuf,
    /// As in `train`
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// As in `train`
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// As in `train`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of all random draws
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// Number of rows
    #[arg(long, value_name = "N", default_value = "6",
        value_parser = clap::value_parser!(u32).range(1..=32))]
    pub rows: u32,
    /// Number of columns
    #[arg(long, value_name = "N", default_value = "8",
        value_parser = clap::value_parser!(u32).range(1..=32))]
    pub columns: u32,
    /// How progress is shown (on stderr)
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,
}
