//! Crops of raw pixels, read from a file.

use mapped::{Mapped, Rows};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The number of bytes fetched at once: few enough for the innermost cache, many enough to make the
/// calls cheap.
const FETCH: usize = 32 << 10;

/// A crop of an image whose pixels are stored in a file, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crop {
    /// The offset of the crop's first byte.
    first: u64,
    /// Bytes per row of the image, and of the crop.
    row: usize,
    wanted: usize,
}

impl Crop {
    /// The crop of `size` (height, width) at `position` (row, column) of an image of `whole`
    /// (height, width) pixels, which start at byte `offset`.
    pub(super) fn new(
        offset: u64,
        whole: (usize, usize),
        position: (usize, usize),
        size: (usize, usize),
    ) -> Crop {
        let inside = position.0 + size.0 <= whole.0 && position.1 + size.1 <= whole.1;
        assert!(inside, "a crop of {size:?} pixels at {position:?} exceeds an image of {whole:?}");
        let row = whole.1 * 3;
        Crop { first: offset + (position.0 * row + position.1 * 3) as u64, row, wanted: size.1 * 3 }
    }

    /// Copies the crop from a mapped file.
    pub(super) fn copy(&self, file: &Mapped, into: &mut [u8]) -> io::Result<()> {
        file.copy_rows(Rows { first: self.first, step: self.row, len: self.wanted }, into)
    }

    /// Reads the crop of a file that is not mapped, without the rows outside the crop.
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
            // From the first to the last byte of the crop in these rows.
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
