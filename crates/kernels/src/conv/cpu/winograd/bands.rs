//! A band of an image: the rows that a row of tiles covers, copied and padded with zeros.
//!
//! Tiles read a few channels of many pixels at a time, a pattern that prefetchers do not follow. A
//! copy reads the image in order and then stays in the L2 cache.
//!
//! Memory bound: the image is read once.

use super::tiles::Offsets;

/// A rectangle of an image, which may extend outside the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImageBand {
    /// Rows, columns and channels of the image.
    pub image: [usize; 3],
    /// The first row and column of the band.
    pub first: [isize; 2],
    pub rows: usize,
    pub columns: usize,
}

/// Floats that may be read after the last pixel: part of a vector.
pub(super) const SLACK: usize = super::VECTOR;

impl ImageBand {
    fn row_len(&self) -> usize {
        self.columns * self.image[2]
    }

    /// Floats of a copy.
    pub fn len(&self) -> usize {
        self.rows * self.row_len() + SLACK
    }

    pub fn copy(&self, image: &[f32], copy: &mut [f32]) {
        let [height, width, pixel] = self.image;
        let inside = |first: isize, count: usize, size: usize| {
            let before = first.min(0).unsigned_abs().min(count);
            let from = first.max(0) as usize;
            (before, from, (count - before).min(size.saturating_sub(from)))
        };
        let (above, top, some_rows) = inside(self.first[0], self.rows, height);
        let (before, left, some) = inside(self.first[1], self.columns, width);
        let (before, some) = (before * pixel, some * pixel);
        let rows = copy[..self.rows * self.row_len()].chunks_exact_mut(self.row_len());
        for (row, copy) in rows.enumerate() {
            if row < above || row >= above + some_rows {
                copy.fill(0.0);
                continue;
            }
            let from = ((top + row - above) * width + left) * pixel;
            copy[..before].fill(0.0);
            copy[before..before + some].copy_from_slice(&image[from..from + some]);
            copy[before + some..].fill(0.0);
        }
        copy[self.rows * self.row_len()..][..SLACK].fill(0.0);
    }

    /// The offsets of a tile's pixels in a copy, starting at this column and channel.
    pub fn offsets(&self, size: [usize; 2], column: usize, channel: usize) -> Offsets {
        Offsets::new(size, |row, across| {
            row * self.row_len() + (column + across) * self.image[2] + channel
        })
    }
}
