//! Crops of raw pixels, straight from a file.

use mapped::{Mapped, Rows};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Rows are fetched so many bytes at a time: few enough to be copied out of the cache next to the
/// core, many enough that the calls cost little.
const FETCH: usize = 32 << 10;

/// A crop of an image whose pixels lie in a file, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crop {
    /// The first byte of its first row.
    first: u64,
    /// Bytes of a row of the image, and of the crop.
    row: usize,
    wanted: usize,
}

impl Crop {
    /// The crop of `size` (height, width) at `place` (row, column) of an image of `whole` (height,
    /// width) pixels, whose pixels start at byte `offset`.
    pub(super) fn new(
        offset: u64,
        whole: (usize, usize),
        place: (usize, usize),
        size: (usize, usize),
    ) -> Crop {
        let inside = place.0 + size.0 <= whole.0 && place.1 + size.1 <= whole.1;
        assert!(inside, "a crop of {size:?} pixels at {place:?} leaves an image of {whole:?}");
        let row = whole.1 * 3;
        Crop { first: offset + (place.0 * row + place.1 * 3) as u64, row, wanted: size.1 * 3 }
    }

    /// Copies it, each byte once.
    pub(super) fn copy(&self, file: &Mapped, into: &mut [u8]) -> io::Result<()> {
        file.copy_rows(Rows { first: self.first, step: self.row, len: self.wanted }, into)
    }

    /// Reads it by calls to the system, for files that are not mapped. No row outside the crop is
    /// read.
    pub(super) fn read(
        &self,
        file: &File,
        into: &mut [u8],
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Crop { first, row, wanted } = *self;
        if wanted == row {
            return file.read_exact_at(into, first);
        }
        let rows_at_once = (FETCH / row).max(1);
        let mut at = first;
        for part in into.chunks_mut(rows_at_once * wanted) {
            // From the first wanted byte to the last, without the margins before and after.
            let rows = part.len() / wanted;
            buffer.resize((rows - 1) * row + wanted, 0);
            file.read_exact_at(buffer, at)?;
            for (to, from) in part.chunks_exact_mut(wanted).zip(buffer.chunks(row)) {
                to.copy_from_slice(&from[..wanted]);
            }
            at += (rows * row) as u64;
        }
        Ok(())
    }
}
