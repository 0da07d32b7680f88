//! A stream that is read forward only, such as a decompressor's, as if it had places.

use super::ReadAt;
use std::cell::RefCell;
use std::io::{self, Read};

/// Reads forward: what lies before the furthest place that was read is gone.
///
/// A member's contents can therefore be read before the next member is asked for, and not later.
#[derive(Debug)]
pub struct Forward<R>(RefCell<Stream<R>>);

#[derive(Debug)]
struct Stream<R> {
    reader: R,
    at: u64,
    longest: u64,
}

impl<R: Read> Forward<R> {
    /// A stream of `longest` bytes at most: one that is longer is an error, as compressed bytes
    /// may promise any number of them.
    pub fn new(reader: R, longest: u64) -> Self {
        Forward(RefCell::new(Stream { reader, at: 0, longest }))
    }

    /// Reads what is left, for a checksum at the stream's end to be compared.
    ///
    /// # Errors
    /// What the stream says.
    pub fn finish(&self) -> io::Result<()> {
        self.read_at(&mut [0], u64::MAX).map(drop)
    }
}

impl<R: Read> ReadAt for Forward<R> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let stream = &mut *self.0.borrow_mut();
        if offset < stream.at {
            return Err(io::Error::other(format!("byte {offset} has been passed already")));
        }
        let mut passed = [0; 8192];
        while stream.at < offset {
            let step = (offset - stream.at).min(passed.len() as u64) as usize;
            match stream.read(&mut passed[..step])? {
                0 => return Ok(0),
                count => stream.at += count as u64,
            }
        }
        let count = stream.read(bytes)?;
        stream.at += count as u64;
        Ok(count)
    }
}

impl<R: Read> Stream<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.longest {
            let longest = self.longest >> 20;
            return Err(io::Error::other(format!("unpacked, it is longer than {longest} MiB")));
        }
        loop {
            match self.reader.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
