//! Requests to stop or to write a checkpoint, polled by everything that loops or waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The number of SIGHUP.
const HANGUP: usize = 1;

/// Flags that a signal handler sets.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Zero: no request.
    signal: Arc<AtomicUsize>,
    /// Has lower priority than any other signal, in whichever order they arrive.
    hung_up: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
}

impl Stop {
    /// No request yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Requests a stop because of a signal (1: hang-up, 2: interrupt, 15: terminate).
    pub fn request(&self, signal: usize) {
        self.signal.store(signal, Ordering::SeqCst);
    }

    /// The signal that requested a stop, if any.
    pub fn requested(&self) -> Option<usize> {
        match self.signal.load(Ordering::SeqCst) {
            0 => self.hung_up.load(Ordering::SeqCst).then_some(HANGUP),
            signal => Some(signal),
        }
    }

    /// The flag to which a signal handler writes the signal's number.
    pub fn signal_flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.signal)
    }

    /// The flag that a signal handler sets when the terminal or connection is lost.
    pub fn hang_up_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.hung_up)
    }

    /// Requests a checkpoint after the current step.
    pub fn request_checkpoint(&self) {
        self.checkpoint.store(true, Ordering::SeqCst);
    }

    /// Whether a checkpoint was requested since the last call.
    pub fn take_checkpoint_request(&self) -> bool {
        self.checkpoint.swap(false, Ordering::SeqCst)
    }

    /// The flag that a signal handler sets to request a checkpoint.
    pub fn checkpoint_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_requests_a_stop_and_other_signals_take_precedence() {
        let stop = Stop::new();
        assert_eq!(stop.requested(), None);
        stop.hang_up_flag().store(true, Ordering::SeqCst);
        assert_eq!(stop.requested(), Some(1));
        stop.request(15);
        assert_eq!(stop.requested(), Some(15));
    }
}
