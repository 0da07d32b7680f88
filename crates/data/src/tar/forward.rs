//! Positioned reads in a stream that can only be read forward, such as a decompressor.

use super::ReadAt;
use std::cell::RefCell;
use std::io::{self, Read};

/// A stream with positioned reads at increasing offsets.
///
/// A member's content can be read before the next member is requested, but not later.
#[derive(Debug)]
pub struct ForwardReader<R>(RefCell<ForwardState<R>>);

#[derive(Debug)]
struct ForwardState<R> {
    reader: R,
    at: u64,
    longest: u64,
}

impl<R: Read> ForwardReader<R> {
    /// A stream with a limit of `longest` bytes: decompressed data may be arbitrarily long, and
    /// exceeding the limit is an error.
    pub fn new(reader: R, longest: u64) -> Self {
        ForwardReader(RefCell::new(ForwardState { reader, at: 0, longest }))
    }

    /// Reads the rest of the stream, which verifies a checksum at its end.
    ///
    /// # Errors
    /// The error of the stream.
    pub fn finish(&self) -> io::Result<()> {
        self.read_at(&mut [0], u64::MAX).map(drop)
    }
}

impl<R: Read> ReadAt for ForwardReader<R> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let stream = &mut *self.0.borrow_mut();
        if offset < stream.at {
            return Err(io::Error::other(format!("byte {offset} was already read")));
        }
        let mut skipped = [0; 8192];
        while stream.at < offset {
            let step = (offset - stream.at).min(skipped.len() as u64) as usize;
            match stream.read(&mut skipped[..step])? {
                0 => return Ok(0),
                count => stream.at += count as u64,
            }
        }
        let count = stream.read(bytes)?;
        stream.at += count as u64;
        Ok(count)
    }
}

impl<R: Read> ForwardState<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.longest {
            let longest = self.longest >> 20;
            return Err(io::Error::other(format!("unpacked, it exceeds {longest} MiB")));
        }
        loop {
            match self.reader.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
