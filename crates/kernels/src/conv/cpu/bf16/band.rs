//! Rows of the output of two images, packed for the gradient of the filters.
//!
//! k runs over pixels, and a pair of k is the same pixel of two images. So B is x in place, at any
//! tap of the window, with two images interleaved; and A is dy transposed, which is packed once for
//! all taps.
//!
//! Memory bound: x and dy are read once, and half as many bytes written into a cache.

use super::padded::{Lines, PaddedImage};
use crate::conv::Geometry;
use crate::gemm::Loop;
use crate::gemm::amx::pack::{self, PackLayout};
use crate::gemm::amx::{Bf16, Block, BlockSums, Configured, PACKED, SIDE, Start, TILE, Tiles};
use crate::per_channel::{RUN, sum_columns};
use crate::simd::flushed;
use std::ops::Range;
use tensor::Pool;

#[derive(Clone, Copy)]
pub(super) struct PackedBand {
    pub g: Geometry,
    /// The first row of the output, and how many there are.
    top: usize,
    rows: usize,
    padded: PaddedImage,
    lines: Lines,
    /// The length of a row of the window.
    run: usize,
}

/// Several packed pairs of images in order: x is followed by [`PackedBand::slack`].
#[derive(Clone, Copy)]
pub(super) struct PackedPairs<'a> {
    pub x: &'a [Bf16],
    pub dy: &'a [Bf16],
    pub pairs: usize,
}

/// The position of a block of C: its group and row of the window, and its index there, down the
/// filters and across the row.
#[derive(Clone, Copy)]
pub(super) struct BlockPosition {
    pub group: usize,
    pub kh: usize,
    pub down: usize,
    pub across: usize,
}

impl PackedBand {
    pub fn new(g: &Geometry, rows: Range<usize>) -> PackedBand {
        let extent = |out: usize, window: usize| (out - 1) * g.stride + window;
        let padded = PaddedImage {
            source: [g.height, g.width, g.channels],
            groups: g.groups,
            pad: [g.pad.top as isize - (rows.start * g.stride) as isize, g.pad.left as isize],
            rows: extent(rows.len(), g.window.0),
            columns: extent(g.out_width(), g.window.1),
            interleaved: 1,
        };
        let lines = Lines::new(rows.len(), g.out_width(), g.stride, padded.columns);
        let run = g.window.1 * padded.group_channels();
        PackedBand { g: *g, top: rows.start, rows: rows.len(), padded, lines, run }
    }

    /// Elements of two images of x.
    pub fn x_len(&self) -> usize {
        2 * self.padded.len()
    }

    /// Elements that tiles read beyond the last x.
    pub fn slack(&self) -> usize {
        2 * self.padded.slack(self.g.stride)
    }

    /// Filters per group.
    fn filters(&self) -> usize {
        self.g.filters / self.g.groups
    }

    fn panels(&self) -> usize {
        self.filters().div_ceil(TILE)
    }

    /// Elements of a panel of two images of dy.
    fn panel_len(&self) -> usize {
        self.lines.tiles() * PACKED
    }

    /// Elements of two images of dy.
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

    /// The position of this block.
    pub fn position(&self, block: usize) -> BlockPosition {
        let (row, across) = (block / self.across(), block % self.across());
        let (at, down) = (row / self.down(), row % self.down());
        BlockPosition { group: at / self.g.window.0, kh: at % self.g.window.0, down, across }
    }

    /// The images of a pair.
    fn images(&self, pair: usize) -> Range<usize> {
        2 * pair..(2 * pair + 2).min(self.g.images)
    }

    /// Packs a pair of images; a last single one with itself, as dy has zeros there.
    pub fn pack_x(&self, x: &[f32], pair: usize, packed: &mut [Bf16]) {
        let (len, images) = (self.g.height * self.g.width * self.g.channels, self.images(pair));
        let both = [images.start, images.end - 1].map(|image| &x[image * len..(image + 1) * len]);
        self.padded.copy_pair(both, packed);
    }

    /// Packs dy of a pair into panels `[group][panel][line][tile]` and sums over the pixels of each
    /// image.
    pub fn pack_dy(&self, dy: &[f32], pair: usize, packed: &mut [Bf16], bias: &mut [f32]) {
        let (g, width) = (&self.g, self.g.out_width());
        let images = self.images(pair);
        let first = |image: usize| (image * g.out_height() + self.top) * width * g.filters;
        // For each tile all channels of its pixels, which are contiguous.
        let [of_group, len] = [self.panels(), self.panel_len()];
        for tile in 0..self.lines.tiles() {
            let pixels = self.lines.pixels(tile);
            for panel in 0..g.groups * of_group {
                let filter = panel % of_group * TILE;
                let count = TILE.min(self.filters() - filter);
                let filter = panel / of_group * self.filters() + filter;
                let to = &mut packed[panel * len + tile * PACKED..][..PACKED];
                pack::tiles(PackLayout::AcrossA, to, |_| {
                    let images = images.clone();
                    move |k| match pixels[k / 2] {
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

    /// Adds the products of these pairs to a block of C, or starts its sums with them.
    pub fn multiply(
        &self,
        configured: &Configured,
        packed: PackedPairs<'_>,
        BlockPosition { group, kh, down, across }: BlockPosition,
        goes_on: bool,
        sums: &mut BlockSums,
    ) {
        let (padded, lines, stride) = (&self.padded, &self.lines, self.g.stride);
        let pixel = 2 * stride * padded.group_channels();
        let (panel, line) = (self.panel_len(), lines.of_line() * PACKED);
        let loops = [
            Loop { count: packed.pairs, a: self.dy_len(), b: self.x_len() },
            Loop { count: lines.count, a: line, b: 2 * stride * padded.line() },
            Loop { count: lines.of_line(), a: PACKED, b: TILE * pixel },
        ];
        let dy = (group * self.panels() + 2 * down) * panel;
        let second = (2 * down + 1 < self.panels()).then(|| dy + panel);
        let a = Tiles { elements: packed.dy, first: dy, second, row: SIDE };
        let x = 2 * (group * padded.group_len() + kh * padded.line() + SIDE * across);
        let second = (SIDE * across + TILE < self.run).then(|| x + SIDE);
        let b = Tiles { elements: packed.x, first: x, second, row: pixel };
        let start = if goes_on { Start::Sum } else { Start::Zero };
        configured.multiply(&Block { a, b, loops, start }, sums);
    }

    /// Copies blocks of C to the filters.
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
