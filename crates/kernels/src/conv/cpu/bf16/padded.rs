//! The part of an image that outputs cover, padded and in bf16, and the order of its output pixels.
//!
//! Memory bound: x is read once, and half as many bytes written into a cache.

use super::interleave;
use crate::gemm::amx::pack::{self, Runs};
use crate::gemm::amx::{Bf16, DEPTH, TILE};
use crate::value::Value;
use std::ops::Range;

/// A part of an image, padded with zeros: `[group][line][column][row of the line][channel]`, where
/// a line is one row, or several interleaved ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaddedImage {
    /// Height, width and channels of the image.
    pub source: [usize; 3],
    pub groups: usize,
    /// Zeros above and to the left; if negative, rows and columns of the image to skip.
    pub pad: [isize; 2],
    pub rows: usize,
    pub columns: usize,
    /// Rows per line; more than one only for whole lines, without groups.
    pub interleaved: usize,
}

impl PaddedImage {
    pub fn group_channels(&self) -> usize {
        self.source[2] / self.groups
    }

    /// Elements of a pixel of a line.
    pub fn pixel(&self) -> usize {
        self.interleaved * self.group_channels()
    }

    /// Elements of a line of a group.
    pub fn line(&self) -> usize {
        self.columns * self.pixel()
    }

    pub fn group_len(&self) -> usize {
        self.rows * self.columns * self.group_channels()
    }

    pub fn len(&self) -> usize {
        self.groups * self.group_len()
    }

    /// The most elements that tiles read beyond the last image: pixels that complete a tile of 16,
    /// `step` apart, and k that complete one of 32.
    pub fn slack(&self, step: usize) -> usize {
        TILE * step * self.pixel() + DEPTH
    }

    /// Elements of scratch memory that [`copy`](Self::copy) needs.
    pub fn spare(&self) -> usize {
        if self.interleaved > 1 { self.source[1] * self.source[2] } else { 0 }
    }

    /// Copies and rounds an image.
    pub fn copy<S: Value>(&self, image: &[S], to: &mut [Bf16], spare: &mut [Bf16]) {
        to.fill(0);
        if self.interleaved == 1 {
            let copy = |from: usize, at, runs| S::round_runs(&image[from..], &mut to[at..], runs);
            return self.each_row(copy);
        }
        self.each_row(|from, at, runs| {
            let row = &mut spare[..runs.len];
            S::round_runs(&image[from..], row, runs);
            let (to, step) = (&mut to[at..], self.pixel());
            match self.source[2] {
                1 => interleave::spread::<1>(row, to, step),
                2 => interleave::spread::<2>(row, to, step),
                3 => interleave::spread::<3>(row, to, step),
                4 => interleave::spread::<4>(row, to, step),
                channels => panic!("{channels} interleaved channels"),
            }
        });
    }

    /// Copies and rounds two images, interleaved element by element.
    pub fn copy_pair(&self, images: [&[f32]; 2], to: &mut [Bf16]) {
        to.fill(0);
        self.each_row(|from, at, runs| {
            let runs = Runs { to: 2 * runs.to, ..runs };
            pack::pairs(images.map(|image| &image[from..]), &mut to[2 * at..], runs);
        });
    }

    /// Calls `copy(from, to, runs)` for each row of each group that is in the image.
    fn each_row(&self, mut copy: impl FnMut(usize, usize, Runs)) {
        let [height, width, channels] = self.source;
        let inside = |extent: usize, size: usize, pad: isize| -> Range<usize> {
            let first = pad.clamp(0, extent as isize) as usize;
            first..(size as isize + pad).clamp(first as isize, extent as isize) as usize
        };
        let rows = inside(self.rows, height, self.pad[0]);
        let columns = inside(self.columns, width, self.pad[1]);
        if columns.is_empty() {
            return;
        }
        let own = self.group_channels();
        let runs = match self.groups {
            1 => Runs { count: 1, len: columns.len() * own, from: 0, to: 0 },
            _ => Runs { count: columns.len(), len: own, from: channels, to: own },
        };
        let left = (columns.start as isize - self.pad[1]) as usize * channels;
        for row in rows {
            let from = (row as isize - self.pad[0]) as usize * width * channels + left;
            for group in 0..self.groups {
                let line = group * self.group_len() + row / self.interleaved * self.line();
                let to = line + columns.start * self.pixel() + row % self.interleaved * own;
                copy(from + group * own, to, runs);
            }
        }
    }
}

/// Output pixels in lines of neighbours at one distance, for tiles of sixteen: each row is a line.
/// Where it takes fewer tiles, all rows are one line that includes the padding between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub count: usize,
    /// Positions per line.
    pub positions: usize,
    /// The distance of two rows of the output in a line.
    pitch: usize,
    /// Columns of the output.
    width: usize,
}

impl Lines {
    /// The lines of `rows` x `width` pixels that cover `covered` columns.
    pub fn new(rows: usize, width: usize, step: usize, covered: usize) -> Lines {
        let one = rows.saturating_sub(1) * covered + width;
        let by_rows = Lines { count: rows, positions: width, pitch: usize::MAX, width };
        if step == 1 && rows > 0 && one.div_ceil(TILE) < rows * width.div_ceil(TILE) {
            Lines { count: 1, positions: one, pitch: covered, width }
        } else {
            by_rows
        }
    }

    /// Tiles per line.
    pub fn of_line(&self) -> usize {
        self.positions.div_ceil(TILE)
    }

    /// Tiles of all lines.
    pub fn tiles(&self) -> usize {
        self.count * self.of_line()
    }

    /// The line of a tile, and the position at which it starts.
    pub fn start(&self, tile: usize) -> (usize, usize) {
        (tile / self.of_line(), tile % self.of_line() * TILE)
    }

    /// The output pixels at a tile's positions, as runs of neighbours: the position at which a run
    /// starts, row and column of its first pixel, and its length.
    #[inline(always)]
    pub fn runs(&self, tile: usize) -> impl Iterator<Item = (usize, [usize; 2], usize)> + use<> {
        let (line, first) = self.start(tile);
        let left = TILE.min(self.positions - first);
        let (width, pitch) = (self.width, self.pitch);
        let (mut position, mut row, mut column) = (0, line + first / pitch, first % pitch);
        std::iter::from_fn(move || {
            if column >= width {
                position += pitch - column;
                (row, column) = (row + 1, 0);
            }
            let count = (width - column).min(left.checked_sub(position)?);
            let run = (position, [row, column], count);
            position += count;
            column += count;
            (count > 0).then_some(run)
        })
    }

    /// Row and column of the pixel at each of a tile's positions; `None` in the padding.
    #[inline(always)]
    pub fn pixels(&self, tile: usize) -> [Option<[usize; 2]>; TILE] {
        let mut pixels = [None; TILE];
        for (position, [row, column], count) in self.runs(tile) {
            let pixels = pixels[position..position + count].iter_mut();
            pixels.zip(column..).for_each(|(pixel, column)| *pixel = Some([row, column]));
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_contain_each_pixel_once() {
        for (rows, width, step, covered) in
            [(13, 13, 1, 15), (7, 7, 1, 9), (32, 32, 1, 36), (55, 55, 4, 227), (1, 40, 1, 42)]
        {
            let lines = Lines::new(rows, width, step, covered);
            let pixels = (0..lines.tiles()).flat_map(|tile| lines.pixels(tile)).flatten();
            let all = (0..rows).flat_map(|i| (0..width).map(move |j| [i, j]));
            assert!(pixels.eq(all), "{lines:?}");
        }
        assert_eq!(Lines::new(7, 7, 1, 9).tiles(), 4, "seven if each row is a line");
    }
}
