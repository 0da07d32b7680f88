//! Requests from outside, to stop or to write a checkpoint: seen by everything that loops or waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The number of SIGHUP.
const HANGUP: usize = 1;

/// Flags that a signal handler raises.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Zero means: go on.
    signal: Arc<AtomicUsize>,
    /// Counts if no other signal does, in whichever order they come.
    hung_up: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
}

impl Stop {
    /// No request yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks for a stop because of a signal (1: hang-up, 2: interrupt, 15: terminate).
    pub fn request(&self, signal: usize) {
        self.signal.store(signal, Ordering::SeqCst);
    }

    /// The signal that asked for a stop, if one has.
    pub fn requested(&self) -> Option<usize> {
        match self.signal.load(Ordering::SeqCst) {
            0 => self.hung_up.load(Ordering::SeqCst).then_some(HANGUP),
            signal => Some(signal),
        }
    }

    /// The word that a signal handler writes the signal's number into.
    pub fn word(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.signal)
    }

    /// The flag that a signal handler raises when the terminal or the connection is gone.
    pub fn hang_up_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.hung_up)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_asks_for_a_stop_and_another_signal_counts_before_it() {
        let stop = Stop::new();
        assert_eq!(stop.requested(), None);
        stop.hang_up_flag().store(true, Ordering::SeqCst);
        assert_eq!(stop.requested(), Some(1));
        stop.request(15);
        assert_eq!(stop.requested(), Some(15));
    }
}
