//! Limits of clients.

use std::time::Duration;

/// Limits of clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are answered at the same time; others wait.
    pub answering: usize,
    /// Connections that wait for their client at the same time.
    pub waiting: usize,
    /// Bytes of an upload.
    pub bytes: usize,
    /// Bytes of all uploads together.
    pub all_bytes: usize,
    /// Images of a request.
    pub images: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Time limit for a request's head, and for its body.
    pub patience: Duration,
}

impl Limits {
    /// The maximum time limit.
    const PATIENCE: Duration = Duration::from_secs(3600);

    /// The default limits with this time limit.
    pub fn with(patience: Duration) -> Limits {
        Limits {
            answering: 16,
            waiting: 64,
            bytes: 32 << 20,
            all_bytes: 512 << 20,
            images: 32,
            pixels: 64_000_000,
            patience: patience.min(Limits::PATIENCE),
        }
    }
}
