//! Standard output and standard error.
//!
//! [`print()`] and [`println()`] are for results. A full device is an error; a closed pipe (`|
//! head`) is not, and the rest of the output is dropped.
//!
//! Control characters are made visible ([`escape`](files::escape)), as names of files and classes
//! may contain them.
//!
//! [`draw`] shows a line at the bottom of a terminal, which is redrawn below messages.
//!
//! [`note`] and [`progress`] are for messages during a run. They never fail, so that a closed pipe,
//! a lost terminal or a full disk does not end a run: the first failure of each stream is kept for
//! the run's log ([`take_trouble`]).

use crate::{Error, Result};
use files::escape::escape;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Prints a result on standard output.
///
/// # Errors
/// [`Error::Output`] if it cannot be written, unless the reader has closed the stream.
pub fn print(text: impl Display) -> Result<()> {
    delivered(write(&mut io::stdout().lock(), &text.to_string()))
}

/// Prints a result on standard output, with a newline.
///
/// # Errors
/// As [`print()`].
pub fn println(text: impl Display) -> Result<()> {
    print(format_args!("{text}\n"))
}

/// Writes a line to standard error, above a line that [`draw`] shows; on a terminal wrapped between
/// words.
pub fn note(text: impl Display) {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = format!("{}\n", escape(&text.to_string()));
    let text = if is_terminal() { wrapped(&text, columns()) } else { text };
    let text = if drawn.is_empty() { text } else { format!("{ERASE}{text}{drawn}") };
    let written = write_raw(&mut io::stderr().lock(), &text);
    remember(&STDERR, written);
}

/// Shows a line at the bottom of the terminal of standard error in place of the previous one;
/// nothing if standard error is no terminal. It must be shorter than [`columns`], or it is not
/// erased completely.
pub fn draw(line: &str) {
    if !is_terminal() {
        return;
    }
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    *drawn = escape(line).to_string();
    let written = write_raw(&mut io::stderr().lock(), &format!("{ERASE}{drawn}"));
    remember(&STDERR, written);
}

/// Erases the line that [`draw`] shows.
pub fn erase() {
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::take(&mut *drawn).is_empty() {
        let written = write_raw(&mut io::stderr().lock(), ERASE);
        remember(&STDERR, written);
    }
}

/// The width of the terminal of standard error in columns; 80 if it is not known.
pub fn columns() -> usize {
    let size = console::Term::stderr().size_checked();
    size.map_or(80, |(_, columns)| usize::from(columns)).max(1)
}

/// Writes a line of progress for programs to standard output.
pub fn progress(text: impl Display) {
    let written = write(&mut io::stdout().lock(), &format!("{text}\n"));
    if let Some(trouble) = remember(&STDOUT, written) {
        note(format_args!("WARNING: {trouble}"));
    }
}

/// Whether standard error is a terminal.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether there is a screen and a keyboard: standard output and input are terminals.
pub fn has_screen() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// A message about streams that failed since the last call, for the run's log; once per stream.
pub fn take_trouble() -> Option<String> {
    if !HAS_TROUBLE.swap(false, Ordering::Relaxed) {
        return None;
    }
    let mut troubles = TROUBLES.lock().unwrap_or_else(PoisonError::into_inner);
    Some(std::mem::take(&mut *troubles).join("; "))
}

/// The text with lines of at most `columns` characters, broken after spaces; longer words stay
/// whole.
fn wrapped(text: &str, columns: usize) -> String {
    let mut wrapped = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        let mut used = 0;
        for word in line.split_inclusive(' ') {
            let length = word.trim_end().chars().count();
            if used > 0 && used + length > columns {
                wrapped.truncate(wrapped.trim_end_matches(' ').len());
                wrapped.push('\n');
                used = 0;
            }
            wrapped.push_str(word);
            used += word.chars().count();
        }
    }
    wrapped
}

/// The line that is shown at the bottom of the terminal; empty for none.
static DRAWN: Mutex<String> = Mutex::new(String::new());
/// Moves to the beginning of the line and erases it.
const ERASE: &str = "\r\u{1b}[K";

/// An output stream whose first failure is reported.
struct Stream {
    name: &'static str,
    has_failed: AtomicBool,
}

static STDOUT: Stream = Stream { name: "standard output", has_failed: AtomicBool::new(false) };
static STDERR: Stream = Stream { name: "standard error", has_failed: AtomicBool::new(false) };
static HAS_TROUBLE: AtomicBool = AtomicBool::new(false);
static TROUBLES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a stream's first failure for [`take_trouble`] and returns it.
fn remember(stream: &Stream, written: io::Result<()>) -> Option<String> {
    let error = written.err()?;
    if stream.has_failed.swap(true, Ordering::Relaxed) {
        return None;
    }
    let name = stream.name;
    let trouble = format!("{name} cannot be written: {error}; lines are lost, the run continues");
    TROUBLES.lock().unwrap_or_else(PoisonError::into_inner).push(trouble.clone());
    HAS_TROUBLE.store(true, Ordering::Relaxed);
    Some(trouble)
}

/// Flushes a result that was printed to standard output by other code.
///
/// # Errors
/// As [`print()`].
pub fn finish(printed: io::Result<()>) -> Result<()> {
    delivered(printed.and_then(|()| io::stdout().flush()))
}

/// The outcome of writing a result: a closed pipe is not a failure.
fn delivered(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Delay before a write to a non-blocking stream is retried.
const BUSY: Duration = Duration::from_millis(5);

/// Writes all of a text, with control characters made visible.
fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    write_raw(stream, &escape(text))
}

/// Writes all of a text as it is. All output goes through here.
fn write_raw(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) => wait_if_busy(error)?,
        }
    }
    while let Err(error) = stream.flush() {
        wait_if_busy(error)?;
    }
    Ok(())
}

fn wait_if_busy(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            std::thread::sleep(BUSY);
            Ok(())
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts three bytes at every third call; fails with `last` after `room` bytes.
    struct Grudging {
        taken: Vec<u8>,
        tries: usize,
        room: usize,
        last: ErrorKind,
    }

    impl Write for Grudging {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.tries += 1;
            match self.tries % 3 {
                0 => return Err(ErrorKind::WouldBlock.into()),
                1 => return Err(ErrorKind::Interrupted.into()),
                _ if self.taken.len() >= self.room => return Err(self.last.into()),
                _ => {}
            }
            let count = bytes.len().min(3);
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.tries += 1;
            if self.tries.is_multiple_of(2) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }
    }

    fn grudging(room: usize, last: ErrorKind) -> Grudging {
        Grudging { taken: Vec::new(), tries: 0, room, last }
    }

    #[test]
    fn partial_and_interrupted_writes_are_continued() {
        let mut stream = grudging(usize::MAX, ErrorKind::Other);
        write(&mut stream, "every byte of it\n").unwrap();
        assert_eq!(stream.taken, b"every byte of it\n");
        let mut full = grudging(6, ErrorKind::StorageFull);
        assert_eq!(write(&mut full, "123456789").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.taken, b"123456");
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrapped("as it is\n", 8), "as it is\n");
        assert_eq!(wrapped("one two three\nfour\n", 8), "one two\nthree\nfour\n");
        assert_eq!(wrapped("a  table\n   row  1\n", 9), "a  table\n   row  1\n");
        assert_eq!(wrapped("word incomprehensibilities\n", 9), "word\nincomprehensibilities\n");
        assert_eq!(wrapped("", 9), "");
    }

    #[test]
    fn a_closed_pipe_is_not_an_error_and_a_full_device_is() {
        assert!(delivered(Ok(())).is_ok());
        assert!(delivered(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let error = delivered(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(error.to_string().starts_with("standard output: cannot write: "), "{error}");
    }

    #[test]
    fn the_first_failure_of_a_stream_is_kept_once() {
        let stream = Stream { name: "a pipe", has_failed: AtomicBool::new(false) };
        assert_eq!(remember(&stream, Ok(())), None);
        let trouble = remember(&stream, Err(ErrorKind::BrokenPipe.into())).unwrap();
        assert!(trouble.starts_with("a pipe cannot be written: broken pipe"), "{trouble}");
        assert_eq!(remember(&stream, Err(ErrorKind::StorageFull.into())), None);
        assert_eq!(take_trouble().as_ref(), Some(&trouble));
        assert_eq!(take_trouble(), None);
    }
}
