//! What can be typed after `reproduce`.

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
  alexnet reproduce ensemble --rehearse                     every part of it, in seconds
  alexnet reproduce ensemble --miniature --data cifar10     its recipe, on small images

Whatever ended it, the same command goes on. Runs that are done are not made again; experiments that
compare the same network and recipe share its runs. A run is taken only if it was made with the
images that are named, wherever they lie now, and in the precision that is asked for.";

/// `alexnet reproduce`.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// Which protocol; without a name they are listed
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// As in `train`: CIFAR-10 for most protocols, ImageNet for the last
    #[arg(long, value_name = "DIR", requires = "name")]
    pub data: Option<String>,
    /// The larger set that `pretrain` learns from first
    #[arg(long, value_name = "DIR")]
    pub larger: Option<String>,
    /// Where the runs are [default: runs/reproduce, or runs/rehearse]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Where NAME.md, NAME.svg and NAME.json are written [default: docs/results, or the runs']
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs of each network, in place of the protocol's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Go through the whole protocol in seconds: a few steps a run on generated images, with a
    /// sixteenth of the filters
    #[arg(long, conflicts_with_all = ["data", "larger"])]
    pub rehearse: bool,
    /// Run a protocol on ImageNet with images of 32 x 32 pixels: its recipe as it is, its networks
    /// an eighth as large on a side, with a quarter of the filters
    #[arg(long, conflicts_with = "rehearse")]
    pub miniature: bool,
    /// A sentence for the results, say on what else the machine did meanwhile
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
    /// How much of the protocol is run.
    pub fn scale(&self) -> Scale {
        match (self.rehearse, self.miniature) {
            (true, _) => Scale::Rehearsal,
            (false, true) => Scale::Miniature,
            (false, false) => Scale::Whole,
        }
    }
}
