//! Arguments of `alexnet export`.

use super::{NetworkArgs, OutputArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  alexnet export --run RUN --to net.onnx                    for ONNX Runtime, OpenVINO, browsers
  alexnet export --run RUN --to net.onnx --with-preprocess --probabilities
  alexnet export --run RUN --to net.pth                     torch.load opens it
  alexnet export --weights weights.safetensors --to net.safetensors --format torchvision
  alexnet export --weights bvlc_alexnet.caffemodel --to net.npz

Formats, by the end of the name if there is no --format:
  onnx          .onnx: the whole network, for any number of images
  pytorch       .pth, .pt: a state dict
  safetensors   .safetensors, and npz .npz: the same tensors
  torchvision   one of these three, with the names of torchvision's alexnet or vgg; the other
                formats have them too if the network is one of these, else those of the layers
  ours          this program's own file: weights.safetensors of a run

Filters are [filters, channels, height, width], as in PyTorch. Where dropout scales down in tests,
as the paper's does, the next weights are multiplied by the factor: other programs have no such
dropout. Before the file gets its name it is read back; its tensors, and what they score two random
images, are compared with the network's. The graph of an ONNX file is not run. A file of this
program is never replaced. docs/deploy.md shows how files are used.";

/// `alexnet export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Output file; an existing one is replaced unless it is a file of this program
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Its format [default: by the end of its name]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<ExportFormatArg>,
    /// ONNX: take images as bytes [batch, height, width, 3], and subtract the mean and scale in the
    /// graph
    #[arg(long)]
    pub with_preprocess: bool,
    /// ONNX: end with a softmax, so that outputs are probabilities
    #[arg(long)]
    pub probabilities: bool,
    /// Compute threads of the comparison; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::limits::threads)]
    pub threads: Option<usize>,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A format of `alexnet export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormatArg {
    /// The whole network
    Onnx,
    /// A state dict
    Pytorch,
    /// Tensors
    Safetensors,
    /// NumPy arrays
    Npz,
    /// Tensors with torchvision's names
    Torchvision,
    /// This program's own file
    Ours,
}
