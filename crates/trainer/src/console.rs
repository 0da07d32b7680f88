//! Everything that this program prints, with its exit codes: [`terminal::output`].

use crate::fault::{Fault, Result};
use files::escape::is_control;
use std::fmt::Display;
pub use terminal::output::{note, progress, take_trouble};

/// Prints a result on standard output, as it is.
///
/// # Errors
/// Exit code 7 if it cannot be written.
pub fn print(text: impl Display) -> Result<()> {
    Ok(terminal::output::print(text)?)
}

/// Prints a result on standard output, and ends its line.
///
/// # Errors
/// As [`print()`].
pub fn println(text: impl Display) -> Result<()> {
    Ok(terminal::output::println(text)?)
}

/// Prints a result on standard output: as one line of JSON, or as text.
///
/// # Errors
/// As [`print()`].
pub fn result<J: Display, T: Display>(
    is_json: bool,
    json: impl FnOnce() -> J,
    text: impl FnOnce() -> T,
) -> Result<()> {
    if is_json { println(json()) } else { print(text()) }
}

/// Notes that `--palette` has no effect any more.
pub fn note_palette(palette: Option<u16>) {
    if palette.is_some() {
        note("--palette has no effect: pictures always have at most 256 colours");
    }
}

/// Reports why a command failed. Gives its exit code.
pub fn fault(fault: Fault) -> u8 {
    note(format_args!("alexnet: {}", fault.message.trim_end()));
    fault.code
}

/// Prints what clap answers in place of a command: a help page, the version, or what is wrong with
/// the arguments. Gives the exit code.
pub fn answer(answer: &clap::Error) -> u8 {
    // clap colours its answers, and repeats in them what was typed as it is.
    let is_plain = std::env::args_os().all(|typed| !typed.to_string_lossy().contains(is_control));
    match (is_plain, answer.use_stderr()) {
        (true, true) => _ = answer.print(),
        (false, true) => note(answer.to_string().trim_end()),
        (true, false) => {
            let printed = terminal::output::finish(answer.print());
            return printed.map_or_else(|error| fault(error.into()), |()| 0);
        }
        (false, false) => return print(answer).map_or_else(fault, |()| 0),
    }
    2
}
