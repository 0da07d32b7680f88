//! Where a reader gets its bytes: a file, or memory.

use rawzip::{FileReader, ReaderAt};
use std::fs::File;
use std::io;
use std::path::Path;

/// The bytes of a weights file, read at any place.
#[derive(Debug)]
pub(crate) struct Source {
    bytes: Bytes,
    len: u64,
}

#[derive(Debug)]
enum Bytes {
    File(FileReader),
    Memory(Vec<u8>),
}

impl Source {
    /// Opens a regular file; a pipe or a device could be read for ever.
    pub(crate) fn open(path: &Path) -> io::Result<Source> {
        let about = std::fs::metadata(path)?;
        if !about.is_file() {
            let reason = "this is a folder, a pipe or a device, not a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Source { bytes: Bytes::File(file.into()), len })
    }

    /// A file's contents that are in memory already.
    pub(crate) fn memory(bytes: &[u8]) -> Source {
        Source { len: bytes.len() as u64, bytes: Bytes::Memory(bytes.to_vec()) }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    /// A sentence, if the file ends before or cannot be read.
    pub(crate) fn fill(&self, at: u64, into: &mut [u8]) -> Result<(), String> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.len) {
            return Err("it is cut off: it ends before its contents; download it again".into());
        }
        self.read_exact_at(into, at).map_err(|error| format!("cannot read: {error}"))
    }

    /// The bytes from `at` on.
    ///
    /// # Errors
    /// As [`fill`](Self::fill); nothing is allocated for bytes beyond the end.
    pub(crate) fn bytes(&self, at: u64, len: u64) -> Result<Vec<u8>, String> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        let mut bytes = vec![0; if inside { len as usize } else { 1 }];
        self.fill(if inside { at } else { self.len }, &mut bytes)?;
        Ok(bytes)
    }
}

impl ReaderAt for Source {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.bytes {
            Bytes::File(file) => file.read_at(into, at),
            Bytes::Memory(bytes) => bytes.read_at(into, at),
        }
    }
}
