//! Copies out of files that are mapped into memory.
//!
//! A positioned read copies bytes twice where only parts of a file's rows are wanted: out of the
//! page cache, and to where they belong. From a [`Mapped`] file they are copied once.
//!
//! What makes a mapping dangerous stays inside this crate:
//!
//! * Others may write to the file at any time. So nobody gets a reference into a mapping, which
//!   would promise bytes that do not change; there are only copies out of it.
//! * Where the file has been cut short, or its disk fails, the processor raises SIGBUS, which ends
//!   the process. A handler turns that into an [error](std::io::Error) of the copy at hand. A
//!   SIGBUS of any other origin goes where it went before.
//!
//! ```
//! use alexnet_mapped::{Mapped, Rows};
//!
//! let path = std::env::temp_dir().join(format!("mapped-{}", std::process::id()));
//! std::fs::write(&path, b"abcdefghijkl")?;
//! let mapped = Mapped::of(&std::fs::File::open(&path)?)?;
//! // Two bytes from each row of four, from byte 1 on.
//! let mut crop = [0; 6];
//! mapped.copy_rows(Rows { first: 1, step: 4, len: 2 }, &mut crop)?;
//! assert_eq!(&crop, b"bcfgjk");
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(clippy::print_stdout, clippy::print_stderr)]

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

/// Rows of bytes, each `len` long, the first from byte `first` on, and every other `step` bytes
/// after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first byte of the first row.
    pub first: u64,
    /// From one row's start to the next one's.
    pub step: usize,
    /// Bytes of a row; at least one.
    pub len: usize,
}

// SAFETY: the mapping belongs to no thread, and it is only read.
unsafe impl Send for Mapped {}
// SAFETY: as above; the mark that a fault leaves is atomic.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps a file of at least one byte.
    ///
    /// # Errors
    /// What the system says: not every file can be mapped, and address space has an end. Positioned
    /// reads are the way then.
    pub fn of(file: &File) -> io::Result<Mapped> {
        fault::handle()?;
        let len = file.metadata()?.len();
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: the system chooses the place; no memory that is in use changes.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, read, shared, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("no mapping lies at zero");
        Ok(Mapped { start, len, watch: Watch::new(start.as_ptr() as usize, len) })
    }

    /// Bytes, as many as the file had when it was mapped.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether there is no byte: never, as such files are not mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies rows into `into`, one right after another, until it is full.
    ///
    /// # Errors
    /// If the file has been cut short, or cannot be read: at this copy or at any before it, since
    /// from then on parts of the mapping are not the file's. What `into` then holds is unspecified.
    /// From the cut to the end of its page there are zeros, which no signal tells of: less than a
    /// page of what is gone may be copied as if it were there.
    ///
    /// # Panics
    /// If `into` does not hold whole rows, or the last one leaves the file.
    pub fn copy_rows(&self, rows: Rows, into: &mut [u8]) -> io::Result<()> {
        let Rows { first, step, len } = rows;
        assert!(len > 0 && into.len().is_multiple_of(len), "{} bytes: no {rows:?}", into.len());
        let Some(last) = (into.len() / len).checked_sub(1) else { return Ok(()) };
        let end = usize::try_from(first).ok().zip(last.checked_mul(step));
        let end = end.and_then(|(first, last)| first.checked_add(last)?.checked_add(len));
        assert!(end.is_some_and(|end| end <= self.len), "{rows:?} in {} bytes", self.len);
        self.watch.during(|| {
            for (number, to) in into.chunks_exact_mut(len).enumerate() {
                // SAFETY: the row lies inside the mapping, as `end` does, which lives as long as
                // `self`. No reference into it exists, so `to` is no part of it. The bytes may
                // change meanwhile, and are copied as whatever they are.
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
        // SAFETY: mapped by `of` with this length, and nobody else has a pointer to it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests;
