//! Copies from memory-mapped files.
//!
//! A positioned read copies bytes twice if only parts of a file's rows are needed: from the page
//! cache into a buffer, and from there to their destination. From a [`Mapped`] file they are copied
//! once.
//!
//! The dangers of a mapping stay inside this crate:
//!
//! * Other processes may write to the file at any time. So there are no references into a mapping,
//!   which would promise bytes that do not change, but only copies.
//! * If the file has been truncated, or its disk fails, the processor raises SIGBUS, which by
//!   default ends the process. A handler turns that into an [error](std::io::Error) of the current
//!   copy. A SIGBUS of any other origin is passed on.
//!
//! ```
//! use alexnet_mapped::{Mapped, Rows};
//!
//! let path = std::env::temp_dir().join(format!("mapped-{}", std::process::id()));
//! std::fs::write(&path, b"abcdefghijkl")?;
//! let mapped = Mapped::of(&std::fs::File::open(&path)?)?;
//! // Two bytes from each row of four, starting with byte 1.
//! let mut crop = [0; 6];
//! mapped.copy_rows(Rows { first: 1, step: 4, len: 2 }, &mut crop)?;
//! assert_eq!(&crop, b"bcfgjk");
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod fault;

use fault::Watch;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// A whole file, mapped for reading. The file itself may be closed.
#[derive(Debug)]
pub struct Mapped {
    start: NonNull<u8>,
    len: usize,
    watch: Watch,
}

/// Rows of bytes, each `len` long. The first starts at byte `first`, each other `step` bytes after
/// the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first byte of the first row.
    pub first: u64,
    /// The distance from one row's start to the next.
    pub step: usize,
    /// Bytes per row; at least one.
    pub len: usize,
}

// SAFETY: the mapping is not tied to a thread, and it is only read.
unsafe impl Send for Mapped {}
// SAFETY: as above; the flag that a fault sets is atomic.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps a file of at least one byte.
    ///
    /// # Errors
    /// The system's error: not every file can be mapped, and address space is limited. Use
    /// positioned reads then.
    pub fn of(file: &File) -> io::Result<Mapped> {
        fault::handle()?;
        let len = file.metadata()?.len();
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: the system chooses the address; no memory in use changes.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, read, shared, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("no mapping is at address 0");
        Ok(Mapped { start, len, watch: Watch::new(start.as_ptr() as usize, len) })
    }

    /// The length of the file in bytes when it was mapped.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether the file is empty: never, as empty files are not mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies adjacent rows into `into` until it is full.
    ///
    /// # Errors
    /// If the file was truncated, or cannot be read, in this copy or any copy before, since from
    /// then on parts of the mapping are not the file's. The contents of `into` are then
    /// unspecified. Between the new end and the end of its page there are zeros without a signal:
    /// less than a page of truncated data may be copied as zeros without an error.
    ///
    /// # Panics
    /// If `into` does not hold whole rows, or the last one exceeds the file.
    pub fn copy_rows(&self, rows: Rows, into: &mut [u8]) -> io::Result<()> {
        let Rows { first, step, len } = rows;
        assert!(len > 0 && into.len().is_multiple_of(len), "{} bytes: no {rows:?}", into.len());
        let Some(last) = (into.len() / len).checked_sub(1) else { return Ok(()) };
        let end = usize::try_from(first).ok().zip(last.checked_mul(step));
        let end = end.and_then(|(first, last)| first.checked_add(last)?.checked_add(len));
        assert!(end.is_some_and(|end| end <= self.len), "{rows:?} in {} bytes", self.len);
        self.watch.during(|| {
            for (number, to) in into.chunks_exact_mut(len).enumerate() {
                // SAFETY: the row is inside the mapping, since `end` is, and the mapping lives as
                // long as `self`. No reference into it exists, so `to` does not overlap it. The
                // bytes may change during the copy; any values are valid.
                unsafe {
                    let from = self.start.as_ptr().add(first as usize + number * step);
                    std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), len);
                }
            }
        })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length, and no other pointer to it exists.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests;
