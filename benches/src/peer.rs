//! PyTorch on the same work, in a process beside this one.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tensor::Precision;

/// How PyTorch is asked to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it comes: NCHW, op by op.
    Eager,
    /// `memory_format=torch.channels_last`.
    ChannelsLast,
    /// `torch.compile`.
    Compiled,
    /// Both.
    CompiledChannelsLast,
}

impl Form {
    /// All that a processor is compared with.
    pub const ALL: [Form; 3] = [Form::Eager, Form::ChannelsLast, Form::Compiled];

    /// In a table, and on the script's command line.
    pub fn name(self) -> &'static str {
        match self {
            Form::Eager => "eager",
            Form::ChannelsLast => "channels-last",
            Form::Compiled => "compiled",
            Form::CompiledChannelsLast => "compiled-channels-last",
        }
    }
}

/// PyTorch with a network and data, waiting for orders.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    about: About,
}

/// What a script says once it is ready.
#[derive(Clone, Debug, Default, Deserialize)]
struct About {
    torch: String,
}

/// A training step of PyTorch's, module by module.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Profile {
    /// Milliseconds of the whole step.
    pub step: f64,
    /// Modules in forward order, then `sgd` and `softmax_loss`: name, milliseconds forward,
    /// milliseconds backward.
    pub rows: Vec<(String, f64, f64)>,
}

/// An epoch of PyTorch's.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct EpochTimes {
    /// From the first batch asked for to the last one learned from.
    pub seconds: f64,
    /// Of them, waiting for batches.
    pub wait: f64,
    /// Images learned from.
    pub images: usize,
}

impl Peer {
    /// The models that `torch_steps.py` has.
    pub const MODELS: [&str; 2] = ["alexnet", "torchvision"];

    /// PyTorch with a model and a batch of noise (`benches/peer/torch_steps.py`), once it has made
    /// a first step. `mode` is `train` or `infer`; in bf16 it runs under `torch.autocast`; 0
    /// threads: its own choice.
    ///
    /// # Errors
    /// If it cannot be started, has no torch, or cannot run this form.
    pub fn steps(
        python: &Path,
        model: &str,
        mode: &str,
        (form, precision): (Form, Precision),
        (images, threads): (usize, usize),
    ) -> Result<Peer, String> {
        let (images, threads) = (images.to_string(), threads.to_string());
        let args = [model, mode, form.name(), &images, &threads, "cpu", precision.name()];
        Peer::start(python, include_str!("../peer/torch_steps.py"), &args)
    }

    /// [`steps`](Self::steps) of training on the first GPU, in full f32, tf32 or bf16.
    ///
    /// # Errors
    /// As `steps`.
    pub fn on_gpu(
        python: &Path,
        model: &str,
        form: Form,
        images: usize,
        precision: &str,
    ) -> Result<Peer, String> {
        let images = images.to_string();
        let args = [model, "train", form.name(), &images, "0", "cuda", precision];
        Peer::start(python, include_str!("../peer/torch_steps.py"), &args)
    }

    /// Starts `python` with a script that this program carries; returns once it is ready.
    ///
    /// # Errors
    /// If it cannot be started, or ends before it is ready: it then has said why.
    pub fn start(python: &Path, script: &str, args: &[&str]) -> Result<Peer, String> {
        let mut child = Command::new(python)
            .args(["-c", script])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let python = python.display();
                format!("{python}: {error}; name a Python that has PyTorch with --python FILE")
            })?;
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = Peer { child, orders, answers, about: About::default() };
        peer.about = peer.answer()?;
        Ok(peer)
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.about.torch
    }

    /// Milliseconds of each of `steps` steps.
    ///
    /// # Errors
    /// If the process has ended (so do the methods below).
    pub fn run(&mut self, steps: usize) -> Result<Vec<f64>, String> {
        self.ask(&format!("steps {steps}"))
    }

    /// Makes a training step under PyTorch's profiler.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn profile(&mut self) -> Result<Profile, String> {
        self.ask("profile")
    }

    /// The most memory that its process has held, in bytes.
    ///
    /// # Errors
    /// If the process has ended, or the system does not tell.
    pub fn peak_memory(&mut self) -> Result<u64, String> {
        self.ask("memory")
    }

    /// Trains for an epoch, if it was started with `cifar_epoch.py`.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn epoch(&mut self) -> Result<EpochTimes, String> {
        self.ask("epoch")
    }

    fn ask<T: DeserializeOwned>(&mut self, order: &str) -> Result<T, String> {
        writeln!(self.orders, "{order}").map_err(|error| format!("PyTorch: {error}"))?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(1..) => serde_json::from_str(&line)
                .map_err(|error| format!("PyTorch said `{}`: {error}", line.trim())),
            _ => Err("PyTorch ended; what it said stands above".to_string()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing is lost with it, so it need not be asked.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Profile {
    /// Its milliseconds beside our rows, `ours` in forward order: a module that is no row of ours
    /// of its own, as a ReLU that we fuse, belongs to the row before it.
    pub fn beside(&self, ours: &[&str]) -> Vec<(f64, f64)> {
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
    fn modules_that_we_fuse_count_for_the_row_before() {
        let row = |name: &str, forward, backward| (name.to_string(), forward, backward);
        let rows = vec![
            row("conv1", 1.0, 2.0),
            row("relu1", 0.5, 0.25),
            row("pool1", 4.0, 8.0),
            row("flatten", 0.125, 0.0),
            row("softmax_loss", 3.0, 5.0),
        ];
        let profile = Profile { step: 30.0, rows };
        let beside = profile.beside(&["preprocess", "conv1", "pool1", "softmax_loss"]);
        assert_eq!(beside, [(0.0, 0.0), (1.5, 2.25), (4.125, 8.0), (3.0, 5.0)]);
        // With a pool that is part of the convolution's row, too.
        assert_eq!(profile.beside(&["conv1", "softmax_loss"]), [(5.625, 10.25), (3.0, 5.0)]);
    }

    #[test]
    fn a_python_that_is_none_is_named() {
        let said = Peer::start(Path::new("no/such/python"), "", &[]).unwrap_err();
        assert!(said.contains("no/such/python") && said.contains("--python"), "{said}");
    }
}
