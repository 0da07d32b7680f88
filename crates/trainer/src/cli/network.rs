//! Which trained network: arguments of the commands that use one.

use clap::Args;
use std::path::PathBuf;

/// Options for weights files of other programs.
#[derive(Clone, Debug, Default, Args)]
pub struct ImportArgs {
    /// The network in another program's weights file, if its tensors fit several: a built-in name or
    /// a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// The mean that the network in another program's weights file subtracts from images: Caffe's
    /// .binaryproto, or .npy [default: the mean colour of ImageNet]
    #[arg(long, value_name = "FILE")]
    pub mean: Option<PathBuf>,
}

impl ImportArgs {
    /// The first flag that was typed.
    pub fn typed(&self) -> Option<&'static str> {
        let model = self.model.as_ref().map(|_| "--model");
        model.or_else(|| self.mean.as_ref().map(|_| "--mean"))
    }
}

/// Which network.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// A run's folder [default: the newest in runs/ that has weights or a
    /// checkpoint]
    #[arg(long, value_name = "DIR", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// A weights file of this program, PyTorch, safetensors, Caffe, ONNX or NumPy; `torchvision` is the
    /// file that torchvision has downloaded
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Options for weights files of other programs.
    #[command(flatten)]
    pub import: ImportArgs,
}
