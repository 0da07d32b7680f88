//! Peak memory of training processes, ours and PyTorch's.

use crate::peer::{Peer, PeerSteps};
use std::process::{Command, Stdio};
use tensor::Precision;

/// Steps before the measurement; by then all memory has been used once.
pub const STEPS: usize = 3;

/// Our peak in bytes: a child process of this program runs [`STEPS`] training steps and prints its
/// peak (`--peak-memory`).
///
/// # Errors
/// If it fails, or on systems without `/proc`.
pub fn ours(
    model: &str,
    precision: Precision,
    batch: usize,
    threads: usize,
) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let done = Command::new(&program)
        .args(["--peak-memory", "--model", model, "--precision", precision.name()])
        .args(["--batch", &batch.to_string(), "--threads", &threads.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let output = String::from_utf8_lossy(&done.stdout);
    match output.trim().parse() {
        Ok(bytes) if done.status.success() => Ok(bytes),
        _ => Err(format!("{} --peak-memory printed `{}`", program.display(), output.trim())),
    }
}

/// PyTorch's peak in bytes after as many steps, and its version.
///
/// # Errors
/// As [`Peer::steps`].
pub fn theirs(steps: PeerSteps) -> Result<(u64, String), String> {
    let mut peer = Peer::steps(steps)?;
    peer.run(STEPS - 1)?; // it has run one
    Ok((peer.peak_memory()?, peer.version().to_string()))
}
