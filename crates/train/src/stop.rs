//! A request to stop, seen by everything that loops or waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A flag that a signal handler raises; zero means: go on.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
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
}
