//! The same step in PyTorch, in a process beside this one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// How PyTorch is asked to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it comes: NCHW, op by op.
    Eager,
    /// `memory_format=torch.channels_last`.
    ChannelsLast,
    /// `torch.compile`.
    Compiled,
}

impl Form {
    /// All of them.
    pub const ALL: [Form; 3] = [Form::Eager, Form::ChannelsLast, Form::Compiled];

    /// In a table, and on the script's command line.
    pub fn name(self) -> &'static str {
        match self {
            Form::Eager => "eager",
            Form::ChannelsLast => "channels-last",
            Form::Compiled => "compiled",
        }
    }
}

/// PyTorch with a network and a batch, waiting to be told how many steps to make.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Its version, and what it runs.
    pub about: String,
}

const SCRIPT: &str = include_str!("../peer/torch_steps.py");

impl Peer {
    /// Starts `python` with the script that this program carries; returns once it is ready.
    ///
    /// # Errors
    /// If it cannot be started, has no torch, or cannot run this form.
    pub fn start(
        python: &Path,
        model: &str,
        mode: &str,
        form: Form,
        (images, threads): (usize, usize),
    ) -> Result<Peer, String> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT, model, mode, form.name()])
            .args([images.to_string(), threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = Peer { child, orders, answers, about: String::new() };
        peer.about = peer.answer()?;
        Ok(peer)
    }

    /// Milliseconds of each of `steps` steps.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn run(&mut self, steps: usize) -> Result<Vec<f64>, String> {
        writeln!(self.orders, "{steps}").map_err(|error| format!("PyTorch: {error}"))?;
        let line = self.answer()?;
        serde_json::from_str(&line).map_err(|error| format!("PyTorch said `{line}`: {error}"))
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_string()),
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
