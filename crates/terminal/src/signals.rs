//! Signal handling: the first SIGINT or SIGTERM requests a stop, the second ends the program.
//! SIGUSR1 requests a checkpoint.
//!
//! SIGHUP, sent when a terminal or connection is lost, also requests a stop. It never ends the
//! program at once, as it may arrive more than once and after SIGTERM: the shell and the kernel
//! each send one when a connection breaks. If the program was started with SIGHUP ignored
//! (`nohup`), it stays ignored.

use crate::{Error, Result};
use evaluate::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The exit code of a program that a signal ended.
pub fn exit_code(signal: usize) -> u8 {
    128 + signal as u8
}

/// Returns a flag that SIGINT, SIGTERM and SIGHUP set. A second SIGINT or SIGTERM ends the program
/// at once.
///
/// # Errors
/// If a handler cannot be installed.
pub fn listen() -> Result<Stop> {
    let stop = Stop::new();
    listen_with(&stop)?;
    Ok(stop)
}

/// As [`listen`], with an existing flag.
///
/// # Errors
/// As `listen`.
pub fn listen_with(stop: &Stop) -> Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds `again` unset, then sets it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .map_err(Error::Signals)?;
        flag::register(signal, Arc::clone(&again)).map_err(Error::Signals)?;
        flag::register_usize(signal, stop.signal_flag(), signal as usize)
            .map_err(Error::Signals)?;
    }
    #[cfg(unix)]
    if !is_ignored(signal_hook::consts::SIGHUP) {
        flag::register(signal_hook::consts::SIGHUP, stop.hang_up_flag()).map_err(Error::Signals)?;
    }
    Ok(())
}

/// Whether the program was started with a signal ignored; `false` without `/proc`.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, signal)
}

#[cfg(unix)]
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Makes exceeding the file size limit (`ulimit -f`) a write error, as on a full disk: unhandled,
/// SIGXFSZ would end the program.
pub fn outlive_file_limits() {
    #[cfg(unix)]
    {
        let unused = Arc::new(AtomicBool::new(false));
        // On failure the default behaviour remains.
        let _ = flag::register(signal_hook::consts::signal::SIGXFSZ, unused);
    }
}

/// Lets SIGUSR1 request checkpoints. Unhandled it would end the program, so call this first.
///
/// # Errors
/// As [`listen`].
pub fn listen_for_checkpoints(stop: &Stop) -> Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, stop.checkpoint_flag()).map_err(Error::Signals)?;
    let _ = stop;
    Ok(())
}

/// Requests a stop when Open MPI's mpirun is interrupted. On Ctrl-C mpirun sends SIGCONT to its
/// processes, SIGTERM a second later and SIGKILL after another second
/// (`--mca odls_base_sigkill_timeout`). A SIGCONT without a preceding suspension therefore requests
/// a stop, to use all of that time; after a suspension the process continues.
///
/// # Errors
/// As [`listen`].
#[cfg(unix)]
pub fn listen_for_mpirun(stop: &Stop) -> Result<()> {
    const TICK: Duration = Duration::from_millis(50);
    let continued = Arc::new(AtomicBool::new(false));
    flag::register(signal_hook::consts::SIGCONT, Arc::clone(&continued)).map_err(Error::Signals)?;
    let stop = stop.clone();
    let watch = move || {
        loop {
            let began = Instant::now();
            std::thread::sleep(TICK);
            let was_suspended = began.elapsed() > 10 * TICK;
            if continued.swap(false, Ordering::SeqCst) && !was_suspended {
                stop.request(SIGINT as usize);
            }
        }
    };
    let thread = std::thread::Builder::new().name("continued".into()).spawn(watch);
    thread.map(drop).map_err(Error::Signals)
}

/// Does nothing on systems without this signal.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn listen_for_mpirun(_: &Stop) -> Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use signal_hook::consts::SIGHUP;

    #[test]
    fn ignored_signals_are_read_from_the_process_status() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0001\nSigIgn:\t{mask}\nSigCgt:\t1\n");
        assert!(ignores(&status("0000000000001001"), SIGHUP));
        assert!(!ignores(&status("0000000000001000"), SIGHUP));
        assert!(ignores(&status("0000000000004000"), SIGTERM));
        assert!(!ignores("", SIGHUP));
    }
}
