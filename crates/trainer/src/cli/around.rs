//! Arguments of `inspect`, `doctor`, `completions` and `man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// `alexnet inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Weights of this program, PyTorch, safetensors, Caffe, ONNX or NumPy; a checkpoint, a
    /// run's metrics.jsonl, or a run's folder
    #[arg(value_name = "FILE|RUN")]
    pub path: PathBuf,
    /// The network in another program's weights file, if its tensors fit several: a built-in name or
    /// a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `alexnet doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Also check a data set, as in `train --data`
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// Folder in which runs would be written
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub runs: PathBuf,
}

/// `alexnet completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// `alexnet man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for every command into this folder [default: alexnet's own, to stdout]
    #[arg(value_name = "DIR")]
    pub out: Option<PathBuf>,
}
