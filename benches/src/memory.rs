//! The most memory that a training process holds, ours and PyTorch's, each in one of its own.

use crate::peer::{Form, Peer};
use std::path::Path;
use std::process::{Command, Stdio};
use tensor::Precision;

/// Steps before the question: by then everything has been used once.
pub const STEPS: usize = 3;

/// Our peak in bytes: this program, started anew to make [`STEPS`] training steps and say what it
/// held (`--peak-memory`).
///
/// # Errors
/// If it fails, or the system does not tell.
pub fn ours(
    model: &str,
    precision: Precision,
    (batch, threads): (usize, usize),
) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let done = Command::new(&program)
        .args(["--peak-memory", "--model", model, "--precision", precision.name()])
        .args(["--batch", &batch.to_string(), "--threads", &threads.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let said = String::from_utf8_lossy(&done.stdout);
    match said.trim().parse() {
        Ok(bytes) if done.status.success() => Ok(bytes),
        _ => Err(format!("{} --peak-memory said `{}`", program.display(), said.trim())),
    }
}

/// PyTorch's peak in bytes, after as many steps.
///
/// # Errors
/// As [`Peer::steps`].
pub fn theirs(
    python: &Path,
    model: &str,
    how: (Form, Precision),
    size: (usize, usize),
) -> Result<(u64, String), String> {
    let mut peer = Peer::steps(python, model, "train", how, size)?;
    peer.run(STEPS - 1)?; // one has been made
    Ok((peer.peak_memory()?, peer.version().to_string()))
}
