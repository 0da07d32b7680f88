//! Ctrl-C and its siblings: the first requests a stop, the second ends the program. SIGUSR1
//! requests a checkpoint.
//!
//! SIGHUP, a terminal or connection that is gone, requests a stop, too. It never ends the program
//! at once, as systems send it more than once, and after SIGTERM: a shell and the kernel each send
//! one when a connection breaks. A program that was started to ignore it (`nohup`) ignores it.

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

/// A flag that SIGINT, SIGTERM and SIGHUP raise; the second of the first two ends the program at
/// once.
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

/// Whether the program was started with a signal ignored. Where there is no `/proc`, that is not
/// known, and the answer is no.
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

/// Has a file that would outgrow its limit (`ulimit -f`) end in an error, as on a full disk:
/// unhandled, SIGXFSZ would end the program on the spot.
pub fn outlive_file_limits() {
    #[cfg(unix)]
    {
        let nobody_asks = Arc::new(AtomicBool::new(false));
        // Refused, it is as it would be without.
        let _ = flag::register(signal_hook::consts::signal::SIGXFSZ, nobody_asks);
    }
}

/// Lets SIGUSR1 ask for checkpoints. Nobody listening, it would end the program: call this first.
///
/// # Errors
/// As [`listen`].
pub fn listen_for_checkpoints(stop: &Stop) -> Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, stop.checkpoint_flag()).map_err(Error::Signals)?;
    let _ = stop;
    Ok(())
}

/// Open MPI's mpirun answers Ctrl-C by having its processes continue (SIGCONT); it asks them to end
/// a second later, and kills them after another: `--mca odls_base_sigkill_timeout` says how many.
/// So one that is told to continue without having stood still is asked to stop, to have all that
/// time. One that did stand still goes on: somebody suspended the job and wants it back.
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
            let stood_still = began.elapsed() > 10 * TICK;
            if continued.swap(false, Ordering::SeqCst) && !stood_still {
                stop.request(SIGINT as usize);
            }
        }
    };
    let thread = std::thread::Builder::new().name("continued".into()).spawn(watch);
    thread.map(drop).map_err(Error::Signals)
}

/// Where there is no such signal, nothing is listened for.
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
    fn what_a_program_ignores_is_read_from_its_status() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0001\nSigIgn:\t{mask}\nSigCgt:\t1\n");
        assert!(ignores(&status("0000000000001001"), SIGHUP));
        assert!(!ignores(&status("0000000000001000"), SIGHUP));
        assert!(ignores(&status("0000000000004000"), SIGTERM));
        assert!(!ignores("", SIGHUP));
    }
}
