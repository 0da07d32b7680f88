//! What clients may take up.

use std::time::Duration;

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are answered at a time; others wait until one is.
    pub answering: usize,
    /// Connections that wait for their client at a time.
    pub waiting: usize,
    /// Bytes of an upload.
    pub bytes: usize,
    /// Bytes of all uploads together.
    pub all_bytes: usize,
    /// Images of a request.
    pub images: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Until a request's head, and then its body, must have come.
    pub patience: Duration,
}

impl Limits {
    /// The longest patience: a client that sends nothing for an hour is gone.
    const PATIENCE: Duration = Duration::from_secs(3600);

    /// The limits of every server; how patient it is, is its own.
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
