//! Arguments of `alexnet distance`.

use super::MachineArgs;
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  alexnet distance a.png b.png --lpips lpips.pth
  alexnet distance a.png b.png --lpips alexnet-owt-7be5be79.pth alex.pth --json

LPIPS, version 0.1, on torchvision's alexnet: 0 for equal images. Images enter as they are and need
one size, at least 63 x 63 pixels. lpips.pth is written in Python by
`torch.save(lpips.LPIPS(net='alex').state_dict(), 'lpips.pth')`. Instead of it two files may be
named: torchvision's weights, and weights/v0.1/alex.pth of the package `lpips`. The precision is
f32, also on a GPU, unless --precision names another.";

/// `alexnet distance`.
#[derive(Debug, Args)]
pub struct DistanceArgs {
    /// An image
    #[arg(value_name = "IMG")]
    pub first: PathBuf,
    /// An image of the same size
    #[arg(value_name = "IMG")]
    pub second: PathBuf,
    /// The state dict of lpips.LPIPS(net='alex'); or torchvision's weights of alexnet, and the
    /// package's linear weights
    #[arg(long, value_name = "FILE", required = true, num_args = 1..=2)]
    pub lpips: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
}
