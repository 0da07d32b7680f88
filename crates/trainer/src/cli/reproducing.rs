//! Arguments of `alexnet reproduce`.

use super::MachineArgs;
use clap::Args;
use experiments::Scale;
use std::path::PathBuf;
use terminal::progress::Progress;

pub(super) const EXAMPLES: &str = "\
Examples:
  alexnet reproduce                                         list the protocols
  alexnet reproduce cifar-80sec --data cifar-10-batches-bin
  alexnet reproduce pretrain --data imagenet --larger imagenet-2011
  alexnet reproduce ensemble --rehearse                     a quick test of every part
  alexnet reproduce ensemble --miniature --data cifar10     its recipe, on small images

The same command resumes an interrupted one. Finished runs are not repeated; experiments with the
same network and recipe share runs. An existing run is reused only if it was made with the same
images, wherever they are now, and in the same precision.";

/// `alexnet reproduce`.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// The protocol; without a name all are listed
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// As in `train`: CIFAR-10 for most protocols, ImageNet for the last
    #[arg(long, value_name = "DIR", requires = "name")]
    pub data: Option<String>,
    /// The larger set on which `pretrain` trains first
    #[arg(long, value_name = "DIR")]
    pub larger: Option<String>,
    /// Folder of the runs [default: runs/reproduce, or runs/rehearse]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Folder for NAME.md, NAME.svg and NAME.json [default: docs/results, or the runs' folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs of each network [default: the protocol's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Test the whole protocol in seconds: a few steps per run on generated images, with a
    /// sixteenth of the filters
    #[arg(long, conflicts_with_all = ["data", "larger"])]
    pub rehearse: bool,
    /// Run an ImageNet protocol on images of 32 x 32 pixels: with the same recipe, and networks of
    /// an eighth of the input's side and a quarter of the filters
    #[arg(long, conflicts_with = "rehearse")]
    pub miniature: bool,
    /// A remark for the results page, e.g. on other load of the machine
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,
}

impl ReproduceArgs {
    /// The scale at which the protocol is run.
    pub fn scale(&self) -> Scale {
        match (self.rehearse, self.miniature) {
            (true, _) => Scale::Rehearsal,
            (false, true) => Scale::Miniature,
            (false, false) => Scale::Whole,
        }
    }
}
