//! Batches by torchvision and PyTorch's DataLoader, in a separate process.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A torchvision process with a data set, waiting for requests.
#[derive(Debug)]
pub struct LoaderPeer {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    /// torchvision's version.
    pub version: String,
}

const SCRIPT: &str = include_str!("../peer/torch_loader.py");

impl LoaderPeer {
    /// Starts `python` with `torch_loader.py`, which lists the values of `what`; returns when it is
    /// ready.
    ///
    /// # Errors
    /// If it does not start or has no torchvision.
    pub fn start(
        python: &Path,
        what: &str,
        images: &Path,
        workers: usize,
        batch: usize,
        crop: usize,
    ) -> Result<LoaderPeer, String> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT, what])
            .arg(images)
            .args([workers, batch, crop].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let requests = child.stdin.take().expect("piped");
        let replies = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = LoaderPeer { child, requests, replies, version: String::new() };
        peer.version = peer.reply()?;
        Ok(peer)
    }

    /// Images per second over `batches` batches.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn rate(&mut self, batches: usize) -> Result<f64, String> {
        writeln!(self.requests, "{batches}").map_err(|error| format!("torchvision: {error}"))?;
        let line = self.reply()?;
        line.parse().map_err(|error| format!("unexpected output of torchvision `{line}`: {error}"))
    }

    fn reply(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.replies.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_string()),
            _ => Err("torchvision ended; see its output above".to_string()),
        }
    }
}

impl Drop for LoaderPeer {
    fn drop(&mut self) {
        // The process has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
