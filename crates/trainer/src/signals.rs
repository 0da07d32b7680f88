//! Ctrl-C and its kin: the first asks, the second ends. SIGUSR1 asks for a checkpoint.

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
    listen_with(&stop)?;
    Ok(stop)
}

/// [`listen`] with a flag that is there already.
///
/// # Errors
/// As `listen`.
pub fn listen_with(stop: &Stop) -> Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds `again` lowered, then raises it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .map_err(refused)?;
        flag::register(signal, Arc::clone(&again)).map_err(refused)?;
        flag::register_usize(signal, stop.word(), signal as usize).map_err(refused)?;
    }
    Ok(())
}

/// Lets SIGUSR1 ask for checkpoints. Nobody listening, it would end the program: call this first.
///
/// # Errors
/// As [`listen`].
pub fn listen_for_checkpoints(stop: &Stop) -> Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, stop.checkpoint_flag()).map_err(refused)?;
    let _ = stop;
    Ok(())
}

fn refused(error: std::io::Error) -> Fault {
    Fault::failure(format!("cannot listen for signals: {error}"))
}
