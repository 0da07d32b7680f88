//! Rows of the output of two images, packed for the gradient of the filters.
//!
//! k runs over pixels, and its pairs are the same pixel of two images: so B is x where it lies, at
//! any tap of the window, with its images two by two; and A is dy turned over, which is packed
//! once for all taps.
//!
//! The floor is memory: x and dy are read once, and half as many bytes written into a cache.

use super::seen::{Lines, Seen};
use crate::conv::Geometry;
use crate::gemm::Loop;
use crate::gemm::amx::pack::{self, Source};
use crate::gemm::amx::{Bf16, Block, PACKED, Ready, SIDE, Start, Sums, TILE, Tiles};
use crate::per_channel::{RUN, sum_columns};
use crate::simd::flushed;
use std::ops::Range;
use tensor::Pool;

#[derive(Clone, Copy)]
pub(super) struct Band {
    pub g: Geometry,
    /// The first row of the output, and how many there are.
    top: usize,
    rows: usize,
    seen: Seen,
    lines: Lines,
    /// The length of a row of the window.
    run: usize,
}

/// Several pairs of images, packed one after another: x with [`Band::slack`] behind.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub x: &'a [Bf16],
    pub dy: &'a [Bf16],
    pub pairs: usize,
}

/// Where a block of C lies: in which group and row of the window, and which of its blocks, down the
/// filters and across the row.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub group: usize,
    pub kh: usize,
    pub down: usize,
    pub across: usize,
}

impl Band {
    pub fn new(g: &Geometry, rows: Range<usize>) -> Band {
        let extent = |out: usize, window: usize| (out - 1) * g.stride + window;
        let seen = Seen {
            source: [g.height, g.width, g.channels],
            groups: g.groups,
            pad: [g.pad.top as isize - (rows.start * g.stride) as isize, g.pad.left as isize],
            rows: extent(rows.len(), g.window.0),
            columns: extent(g.out_width(), g.window.1),
            braid: 1,
        };
        let lines = Lines::new(rows.len(), g.out_width(), g.stride, seen.columns);
        let run = g.window.1 * seen.group_channels();
        Band { g: *g, top: rows.start, rows: rows.len(), seen, lines, run }
    }

    /// Numbers of two images of x.
    pub fn x_len(&self) -> usize {
        2 * self.seen.len()
    }

    /// Numbers that tiles read beyond the last x.
    pub fn slack(&self) -> usize {
        2 * self.seen.slack(self.g.stride)
    }

    /// Filters of a group.
    fn filters(&self) -> usize {
        self.g.filters / self.g.groups
    }

    fn panels(&self) -> usize {
        self.filters().div_ceil(TILE)
    }

    /// Numbers of a panel of two images of dy.
    fn panel_len(&self) -> usize {
        self.lines.tiles() * PACKED
    }

    /// Numbers of two images of dy.
    pub fn dy_len(&self) -> usize {
        self.g.groups * self.panels() * self.panel_len()
    }

    /// Blocks of C down the filters of a group.
    pub fn down(&self) -> usize {
        self.filters().div_ceil(SIDE)
    }

    /// Blocks of C across a row of the window.
    pub fn across(&self) -> usize {
        self.run.div_ceil(SIDE)
    }

    /// Blocks of C: `[group][row of the window][down][across]`.
    pub fn blocks(&self) -> usize {
        self.g.groups * self.g.window.0 * self.down() * self.across()
    }

    /// The place of the block of this index.
    pub fn place(&self, block: usize) -> Place {
        let (row, across) = (block / self.across(), block % self.across());
        let (at, down) = (row / self.down(), row % self.down());
        Place { group: at / self.g.window.0, kh: at % self.g.window.0, down, across }
    }

    /// The images of a pair.
    fn images(&self, pair: usize) -> Range<usize> {
        2 * pair..(2 * pair + 2).min(self.g.images)
    }

    /// Packs a pair of images; the last, if it is by itself, with itself: dy has zeros there.
    pub fn pack_x(&self, x: &[f32], pair: usize, packed: &mut [Bf16]) {
        let (len, images) = (self.g.height * self.g.width * self.g.channels, self.images(pair));
        let both = [images.start, images.end - 1].map(|image| &x[image * len..(image + 1) * len]);
        self.seen.copy_pair(both, packed);
    }

    /// Packs dy of a pair into panels `[group][panel][line][tile]` and sums over the pixels of each
    /// image.
    pub fn pack_dy(&self, dy: &[f32], pair: usize, packed: &mut [Bf16], bias: &mut [f32]) {
        let (g, width) = (&self.g, self.g.out_width());
        let images = self.images(pair);
        let first = |image: usize| (image * g.out_height() + self.top) * width * g.filters;
        // All channels of a pixel one after another: they lie together.
        let [of_group, len] = [self.panels(), self.panel_len()];
        for tile in 0..self.lines.tiles() {
            let places = self.lines.pixels(tile);
            for panel in 0..g.groups * of_group {
                let filter = panel % of_group * TILE;
                let count = TILE.min(self.filters() - filter);
                let filter = panel / of_group * self.filters() + filter;
                let to = &mut packed[panel * len + tile * PACKED..][..PACKED];
                pack::tiles(Source::AcrossA, to, |_| {
                    let images = images.clone();
                    move |k| match places[k / 2] {
                        Some([i, j]) if images.start + k % 2 < images.end => {
                            let pixel = first(images.start + k % 2) + (i * width + j) * g.filters;
                            &dy[pixel + filter..][..count]
                        }
                        _ => &[],
                    }
                });
            }
        }
        let len = self.rows * width * g.filters;
        for (image, bias) in images.zip(bias.chunks_exact_mut(g.filters)) {
            let dy = &dy[first(image)..][..len];
            for (idx, bias) in bias.chunks_mut(RUN).enumerate() {
                sum_columns(dy, g.filters, idx * RUN, bias);
            }
        }
    }

    /// Adds the products of these pairs to a block of C, or begins it with them.
    pub fn multiply(
        &self,
        ready: &Ready,
        packed: Packed<'_>,
        Place { group, kh, down, across }: Place,
        goes_on: bool,
        sums: &mut Sums,
    ) {
        let (seen, lines, stride) = (&self.seen, &self.lines, self.g.stride);
        let pixel = 2 * stride * seen.group_channels();
        let (panel, line) = (self.panel_len(), lines.of_line() * PACKED);
        let loops = [
            Loop { count: packed.pairs, a: self.dy_len(), b: self.x_len() },
            Loop { count: lines.count, a: line, b: 2 * stride * seen.line() },
            Loop { count: lines.of_line(), a: PACKED, b: TILE * pixel },
        ];
        let dy = (group * self.panels() + 2 * down) * panel;
        let second = (2 * down + 1 < self.panels()).then(|| dy + panel);
        let a = Tiles { numbers: packed.dy, first: dy, second, row: SIDE };
        let x = 2 * (group * seen.group_len() + kh * seen.line() + SIDE * across);
        let second = (SIDE * across + TILE < self.run).then(|| x + SIDE);
        let b = Tiles { numbers: packed.x, first: x, second, row: pixel };
        let start = if goes_on { Start::Sum } else { Start::Zero };
        ready.multiply(&Block { a, b, loops, start }, sums);
    }

    /// Turns blocks of C into filters.
    pub fn unpack(&self, pool: &Pool, sums: &[f32], dw: &mut [f32]) {
        let blocks = sums.as_chunks::<{ SIDE * SIDE }>().0;
        pool.chunks(dw, self.g.window.0 * self.run, |filter, dw| {
            let (group, f) = (filter / self.filters(), filter % self.filters());
            for (kh, dw) in dw.chunks_exact_mut(self.run).enumerate() {
                let row = (group * self.g.window.0 + kh) * self.down() + f / SIDE;
                let blocks = &blocks[row * self.across()..][..self.across()];
                for (block, dw) in blocks.iter().zip(dw.chunks_mut(SIDE)) {
                    let sums = &block[f % SIDE * SIDE..];
                    dw.iter_mut().zip(sums).for_each(|(dw, &sum)| *dw = flushed(sum));
                }
            }
        });
    }
}
