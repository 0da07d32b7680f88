//! Batches by torchvision and torch's DataLoader, in a process beside this one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// torchvision with a data set, waiting to be told how many batches to make.
#[derive(Debug)]
pub struct LoaderPeer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Its version.
    pub about: String,
}

const SCRIPT: &str = include_str!("../peer/torch_loader.py");

impl LoaderPeer {
    /// Starts `python` with the script that this program carries, which says what `what` may be;
    /// returns once it is ready.
    ///
    /// # Errors
    /// If it cannot be started or has no torchvision.
    pub fn start(
        python: &Path,
        what: &str,
        images: &Path,
        (workers, batch, crop): (usize, usize, usize),
    ) -> Result<LoaderPeer, String> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT, what])
            .arg(images)
            .args([workers, batch, crop].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = LoaderPeer { child, orders, answers, about: String::new() };
        peer.about = peer.answer()?;
        Ok(peer)
    }

    /// Images a second, over `batches` batches.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn rate(&mut self, batches: usize) -> Result<f64, String> {
        writeln!(self.orders, "{batches}").map_err(|error| format!("torchvision: {error}"))?;
        let line = self.answer()?;
        line.parse().map_err(|error| format!("torchvision said `{line}`: {error}"))
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_string()),
            _ => Err("torchvision ended; what it said stands above".to_string()),
        }
    }
}

impl Drop for LoaderPeer {
    fn drop(&mut self) {
        // Nothing is lost with it, so it need not be asked.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
