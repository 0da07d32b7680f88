//! Standard output and standard error.
//!
//! [`print()`] and [`println()`] are for results. A full device is an error; a reader that has seen
//! enough (`| head`) is none, and the rest of the output is dropped.
//!
//! Control characters in it are made visible ([`escape`](files::escape)), as names of files and
//! classes may hold any.
//!
//! [`note`] and [`progress`] are for what is reported on the way. They never fail, so that a closed
//! pipe, a lost terminal or a full disk behind a log ends no run: the first failure of each stream
//! is kept for the run's own log ([`take_trouble`]).

use crate::{Error, Result};
use files::escape::escape;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Prints a result on standard output, as it is.
///
/// # Errors
/// [`Error::Output`] if it cannot be written, unless the reader has closed the stream.
pub fn print(text: impl Display) -> Result<()> {
    delivered(write(&mut io::stdout().lock(), &text.to_string()))
}

/// Prints a result on standard output, and ends its line.
///
/// # Errors
/// As [`print()`].
pub fn println(text: impl Display) -> Result<()> {
    print(format_args!("{text}\n"))
}

/// Reports something on standard error, in a line of its own.
pub fn note(text: impl Display) {
    let written = write(&mut io::stderr().lock(), &format!("{text}\n"));
    remember(&STDERR, written);
}

/// Reports progress on standard output, in a line of its own: for programs.
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

/// What has gone wrong with a stream since this was asked last, in a sentence for the run's log;
/// once for each stream.
pub fn take_trouble() -> Option<String> {
    if !HAS_TROUBLE.swap(false, Ordering::Relaxed) {
        return None;
    }
    let mut troubles = TROUBLES.lock().unwrap_or_else(PoisonError::into_inner);
    Some(std::mem::take(&mut *troubles).join("; "))
}

/// A stream whose first failure is reported.
struct Stream {
    name: &'static str,
    has_failed: AtomicBool,
}

static STDOUT: Stream = Stream { name: "standard output", has_failed: AtomicBool::new(false) };
static STDERR: Stream = Stream { name: "standard error", has_failed: AtomicBool::new(false) };
static HAS_TROUBLE: AtomicBool = AtomicBool::new(false);
static TROUBLES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a stream's first failure for [`take_trouble`], and gives it if this is the first.
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

/// Ends a result that something else has printed on standard output.
///
/// # Errors
/// As [`print()`].
pub fn finish(printed: io::Result<()>) -> Result<()> {
    delivered(printed.and_then(|()| io::stdout().flush()))
}

/// What writing a result came to: a reader that has closed the stream is no failure.
fn delivered(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// How long a stream that another program made non-blocking is left alone before it is tried again.
const BUSY: Duration = Duration::from_millis(5);

/// Writes all of a text. Every byte that is printed passes here, progress bars excepted.
fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    let text = escape(text);
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

    /// Takes three bytes at a time, and not at every try; ends with `last` after `room` bytes.
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
    fn all_of_a_text_is_written_to_a_stream_that_takes_it_in_pieces() {
        let mut stream = grudging(usize::MAX, ErrorKind::Other);
        write(&mut stream, "every byte of it\n").unwrap();
        assert_eq!(stream.taken, b"every byte of it\n");
        let mut full = grudging(6, ErrorKind::StorageFull);
        assert_eq!(write(&mut full, "123456789").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.taken, b"123456");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_of_a_result_and_a_full_device_is() {
        assert!(delivered(Ok(())).is_ok());
        assert!(delivered(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let error = delivered(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(error.to_string().starts_with("standard output: cannot write: "), "{error}");
    }

    #[test]
    fn the_first_failure_of_a_stream_is_kept_once() {
        let stream = Stream { name: "a pipe", has_failed: AtomicBool::new(false) };
        assert_eq!(remember(&stream, Ok(())), None);
        let told = remember(&stream, Err(ErrorKind::BrokenPipe.into())).unwrap();
        assert!(told.starts_with("a pipe cannot be written: broken pipe"), "{told}");
        assert_eq!(remember(&stream, Err(ErrorKind::StorageFull.into())), None);
        assert_eq!(take_trouble().as_ref(), Some(&told));
        assert_eq!(take_trouble(), None);
    }
}
