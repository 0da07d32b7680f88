//! Requests from outside, to stop or to write a checkpoint: seen by everything that loops or waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Flags that a signal handler raises.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Zero means: go on.
    signal: Arc<AtomicUsize>,
    checkpoint: Arc<AtomicBool>,
}

impl Stop {
    /// A flag that nobody has raised.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks for a stop because of a signal (2: interrupt, 15: terminate).
    pub fn request(&self, signal: usize) {
        self.signal.store(signal, Ordering::SeqCst);
    }

    /// The signal that asked for a stop, if one has.
    pub fn requested(&self) -> Option<usize> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// The word that a signal handler writes the signal's number into.
    pub fn word(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.signal)
    }

    /// Asks for a checkpoint after the step in hand.
    pub fn request_checkpoint(&self) {
        self.checkpoint.store(true, Ordering::SeqCst);
    }

    /// Whether a checkpoint has been asked for since this was asked last.
    pub fn take_checkpoint_request(&self) -> bool {
        self.checkpoint.swap(false, Ordering::SeqCst)
    }

    /// The flag that a signal handler raises to ask for a checkpoint.
    pub fn checkpoint_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.checkpoint)
    }
}
