//! Ctrl-C and its kin: the first asks, the second ends.

use crate::fault::{Fault, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use train::Stop;

/// The exit code of a program that a signal ended.
pub fn exit_code(signal: usize) -> u8 {
    128 + signal as u8
}

/// A flag that SIGINT and SIGTERM raise; the second of them ends the program at once.
///
/// # Errors
/// If the system refuses a handler.
pub fn listen() -> Result<Stop> {
    let stop = Stop::new();
    let again = Arc::new(AtomicBool::new(false));
    let refused = |error| Fault::failure(format!("cannot listen for signals: {error}"));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds `again` lowered, then raises it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .map_err(refused)?;
        flag::register(signal, Arc::clone(&again)).map_err(refused)?;
        flag::register_usize(signal, stop.word(), signal as usize).map_err(refused)?;
    }
    Ok(stop)
}
