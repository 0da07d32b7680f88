//! Another program on the same workload, in a separate process: PyTorch, OpenVINO, ONNX Runtime.

use crate::StepMode;
use clap::ValueEnum;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tensor::Precision;

/// How PyTorch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerMode {
    /// NCHW, op by op
    Eager,
    /// `memory_format=torch.channels_last`
    ChannelsLast,
    /// `torch.compile`
    Compiled,
    /// Both
    #[value(skip)]
    CompiledChannelsLast,
    /// A training step on a GPU as one CUDA graph, in `channels_last`
    #[value(skip)]
    GraphChannelsLast,
}

impl PeerMode {
    /// The modes on a CPU.
    pub const ALL: [PeerMode; 3] = [PeerMode::Eager, PeerMode::ChannelsLast, PeerMode::Compiled];

    /// In a table, and on the script's command line.
    pub fn name(self) -> &'static str {
        match self {
            PeerMode::Eager => "eager",
            PeerMode::ChannelsLast => "channels-last",
            PeerMode::Compiled => "compiled",
            PeerMode::CompiledChannelsLast => "compiled-channels-last",
            PeerMode::GraphChannelsLast => "graph-channels-last",
        }
    }
}

/// The steps of a PyTorch process.
#[derive(Clone, Copy, Debug)]
pub struct PeerSteps<'a> {
    /// Python with PyTorch.
    pub python: &'a Path,
    /// One of [`Peer::MODELS`].
    pub model: &'a str,
    /// Training or inference.
    pub mode: StepMode,
    /// How PyTorch runs.
    pub form: PeerMode,
    /// In bf16 the steps run under `torch.autocast`.
    pub precision: Precision,
    /// Images per step.
    pub batch: usize,
    /// Compute threads; 0: PyTorch's default.
    pub threads: usize,
}

/// A program that computes ONNX models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// OpenVINO with its performance hint for latency.
    OpenVino,
    /// ONNX Runtime with its provider for CPUs. It has no bf16.
    OnnxRuntime,
}

impl Engine {
    /// In tables.
    pub fn title(self) -> &'static str {
        match self {
            Engine::OpenVino => "OpenVINO",
            Engine::OnnxRuntime => "ONNX Runtime",
        }
    }

    /// Its Python package.
    pub fn name(self) -> &'static str {
        match self {
            Engine::OpenVino => "openvino",
            Engine::OnnxRuntime => "onnxruntime",
        }
    }
}

/// A process with a network and data, waiting for commands.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
    ready: Ready,
}

/// The first line of a script.
#[derive(Clone, Debug, Default, Deserialize)]
struct Ready {
    #[serde(alias = "torch")]
    version: String,
}

/// The times of a PyTorch training step by module.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PeerProfile {
    /// Milliseconds of the whole step.
    pub step: f64,
    /// Modules in forward order, then `sgd` and `softmax_loss`: name, forward and backward
    /// milliseconds.
    pub rows: Vec<(String, f64, f64)>,
}

/// The times of an epoch.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct EpochTimes {
    /// From the request of the first batch to the end of the last step.
    pub seconds: f64,
    /// The part of them spent waiting for batches.
    pub wait: f64,
    /// Number of images.
    pub images: usize,
}

impl Peer {
    /// The models of `torch_steps.py`.
    pub const MODELS: [&str; 2] = ["alexnet", "torchvision"];

    /// Starts `benches/peer/torch_steps.py` with a batch of random pixels; returns after its first
    /// step.
    ///
    /// # Errors
    /// If Python does not start, has no PyTorch, or PyTorch does not support this mode.
    pub fn steps(steps: PeerSteps) -> Result<Peer, String> {
        let PeerSteps { python, model, mode, form, precision, batch, threads } = steps;
        let (images, threads) = (batch.to_string(), threads.to_string());
        let args = [model, mode.name(), form.name(), &images, &threads, "cpu", precision.name()];
        Peer::start(python, include_str!("../peer/torch_steps.py"), &args)
    }

    /// As [`steps`](Self::steps), in training on the first GPU, in f32, tf32 or bf16.
    ///
    /// # Errors
    /// As `steps`.
    pub fn on_gpu(
        python: &Path,
        model: &str,
        form: PeerMode,
        images: usize,
        precision: &str,
    ) -> Result<Peer, String> {
        let images = images.to_string();
        let args = [model, "train", form.name(), &images, "0", "cuda", precision];
        Peer::start(python, include_str!("../peer/torch_steps.py"), &args)
    }

    /// Starts `benches/peer/onnx_steps.py` with the ONNX model in `file`; returns after its first
    /// run. `threads` of 0 are the engine's default.
    ///
    /// # Errors
    /// If Python does not start, does not have the engine, or the engine does not have the
    /// precision.
    pub fn onnx(
        python: &Path,
        engine: Engine,
        file: &Path,
        images: usize,
        threads: usize,
        precision: Precision,
    ) -> Result<Peer, String> {
        let file = file.to_str().ok_or("the path of the exported model is not UTF-8")?;
        let (images, threads) = (images.to_string(), threads.to_string());
        let args = [engine.name(), file, &images, &threads, precision.name()];
        Peer::start(python, include_str!("../peer/onnx_steps.py"), &args)
    }

    /// Starts `python` with an embedded script; returns when the script is ready.
    ///
    /// # Errors
    /// If it does not start, or ends with a message on stderr before it is ready.
    pub fn start(python: &Path, script: &str, args: &[&str]) -> Result<Peer, String> {
        let mut child = Command::new(python)
            .args(["-c", script])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let python = python.display();
                format!("{python}: {error}; select a Python with the peer with --python FILE")
            })?;
        let commands = child.stdin.take().expect("piped");
        let replies = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = Peer { child, commands, replies, ready: Ready::default() };
        peer.ready = peer.reply()?;
        Ok(peer)
    }

    /// The program's version.
    pub fn version(&self) -> &str {
        &self.ready.version
    }

    /// Milliseconds of each of `steps` steps.
    ///
    /// # Errors
    /// If the process has ended (so do the methods below).
    pub fn run(&mut self, steps: usize) -> Result<Vec<f64>, String> {
        self.request(&format!("steps {steps}"))
    }

    /// Runs a training step under PyTorch's profiler.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn profile(&mut self) -> Result<PeerProfile, String> {
        self.request("profile")
    }

    /// The process's peak memory in bytes.
    ///
    /// # Errors
    /// If the process has ended, or on systems without `/proc`.
    pub fn peak_memory(&mut self) -> Result<u64, String> {
        self.request("memory")
    }

    /// Trains for an epoch, if it was started with `cifar_epoch.py`.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn epoch(&mut self) -> Result<EpochTimes, String> {
        self.request("epoch")
    }

    fn request<T: DeserializeOwned>(&mut self, command: &str) -> Result<T, String> {
        writeln!(self.commands, "{command}").map_err(|error| format!("the peer: {error}"))?;
        self.reply()
    }

    fn reply<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let mut line = String::new();
        match self.replies.read_line(&mut line) {
            Ok(1..) => serde_json::from_str(&line).map_err(|error| {
                format!("unexpected output of the peer `{}`: {error}", line.trim())
            }),
            _ => Err("the peer ended; see its output above".to_string()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The process has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PeerProfile {
    /// Forward and backward milliseconds of each of our rows. A module without a row, such as a
    /// ReLU that we fuse, counts for the row before it.
    pub fn by_row(&self, ours: &[&str]) -> Vec<(f64, f64)> {
        let mut times = vec![(0.0, 0.0); ours.len()];
        let mut at = None;
        for (name, forward, backward) in &self.rows {
            at = ours.iter().position(|row| row == name).or(at);
            if let Some(at) = at {
                times[at].0 += forward;
                times[at].1 += backward;
            }
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_modules_count_for_the_row_before() {
        let row = |name: &str, forward, backward| (name.to_string(), forward, backward);
        let rows = vec![
            row("conv1", 1.0, 2.0),
            row("relu1", 0.5, 0.25),
            row("pool1", 4.0, 8.0),
            row("flatten", 0.125, 0.0),
            row("softmax_loss", 3.0, 5.0),
        ];
        let profile = PeerProfile { step: 30.0, rows };
        let by_row = profile.by_row(&["preprocess", "conv1", "pool1", "softmax_loss"]);
        assert_eq!(by_row, [(0.0, 0.0), (1.5, 2.25), (4.125, 8.0), (3.0, 5.0)]);
        // With pooling fused into the convolution's row.
        assert_eq!(profile.by_row(&["conv1", "softmax_loss"]), [(5.625, 10.25), (3.0, 5.0)]);
    }

    #[test]
    fn a_missing_python_is_reported() {
        let error = Peer::start(Path::new("no/such/python"), "", &[]).unwrap_err();
        assert!(error.contains("no/such/python") && error.contains("--python"), "{error}");
    }
}
