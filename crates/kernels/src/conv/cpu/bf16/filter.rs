//! The gradient of the filters in bf16: a sum over the pixels of the batch.
//!
//! ```text
//! dw[f, kh, n] = sum over images, i, j of dy[i, j, f] x[stride i + kh, stride j, n]
//! ```
//!
//! where n runs over a row of the window, its pixels and their channels, and x has zeros around. k
//! runs over pixels, and its pairs are the same pixel of two images: so B is x where it lies, at
//! any tap of the window, with its images two by two; and A is dy turned over, which is packed
//! once for all taps. A block of images at a time is packed by all threads.
//!
//! Sums lie block by block of C, in memory of their own, while k goes by: a thread has some filters
//! and a row of the window, and takes as many images at once as stay in its second-level cache.

use super::super::pixels::add_biases;
use super::seen::{Lines, Seen};
use crate::conv::Geometry;
use crate::gemm::amx::pack::{self, Source};
use crate::gemm::amx::{
    Bf16, Block, Engine, PACKED, Ready, SIDE, Start, Sums, TILE, Tiles, numbers,
};
use crate::gemm::{Loop, Shared};
use crate::per_channel::{RUN, sum_columns};
use tensor::Pool;

/// Numbers of x and dy that are packed at once, and pairs of images below which a block is not cut
/// further, to keep all threads busy with packing.
const BLOCK_NUMBERS: usize = 8 << 20;
const BLOCK_PAIRS: usize = 4;
/// Numbers of x that a thread goes through with each block of C.
const VISIT_NUMBERS: usize = 512 << 10;
/// Pairs of panels of dy, 32 filters each, in a chunk.
const PAIRS: usize = 2;

/// How the work is laid out.
#[derive(Clone, Copy)]
struct Plan {
    g: Geometry,
    seen: Seen,
    lines: Lines,
    /// The length of a row of the window.
    run: usize,
    /// Pairs of images packed at once, and gone through with each block of C.
    block: usize,
    visit: usize,
}

impl Plan {
    fn new(g: &Geometry) -> Plan {
        let extent = |out: usize, window: usize| (out - 1) * g.stride + window;
        let seen = Seen {
            source: [g.height, g.width, g.channels],
            groups: g.groups,
            pad: [g.pad.top as isize, g.pad.left as isize],
            rows: extent(g.out_height(), g.window.0),
            columns: extent(g.out_width(), g.window.1),
        };
        let lines = Lines::new(g.out_height(), g.out_width(), g.stride, seen.columns);
        let run = g.window.1 * seen.group_channels();
        let mut plan = Plan { g: *g, seen, lines, run, block: 1, visit: 1 };
        let pairs = g.images.div_ceil(2);
        let block = BLOCK_NUMBERS / (plan.x_len() + plan.dy_len());
        plan.block = block.max(BLOCK_PAIRS).min(pairs);
        plan.visit = (VISIT_NUMBERS / plan.x_len()).clamp(1, plan.block);
        plan
    }

    /// Numbers of two images of x.
    fn x_len(&self) -> usize {
        2 * self.seen.len()
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

    fn dy_len(&self) -> usize {
        self.g.groups * self.panels() * self.panel_len()
    }

    /// Pairs of panels of a group: blocks of C down.
    fn down(&self) -> usize {
        self.filters().div_ceil(SIDE)
    }

    /// Blocks of C across a row of the window.
    fn across(&self) -> usize {
        self.run.div_ceil(SIDE)
    }

    /// Blocks of C: `[group][row of the window][down][across]`.
    fn blocks(&self) -> usize {
        self.g.groups * self.g.window.0 * self.down() * self.across()
    }

    /// A sum over dy for each image and filter.
    fn bias_len(&self) -> usize {
        (self.g.images * self.g.filters).next_multiple_of(32)
    }

    /// Floats of a block of packed x, and of dy.
    fn packed_len(&self) -> [usize; 2] {
        let slack = 2 * self.seen.slack(self.g.stride);
        let x = (self.block * self.x_len() + slack).next_multiple_of(32) / 2;
        [x, self.block * self.dy_len() / 2]
    }
}

pub(super) fn scratch(g: &Geometry) -> usize {
    let plan = Plan::new(g);
    let [x, dy] = plan.packed_len();
    plan.blocks() * SIDE * SIDE + plan.bias_len() + x + dy
}

/// The gradients of filters and biases.
pub(in super::super::super) fn backward_filter(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (x, dy): (&[f32], &[f32]),
    (dw, db): (&mut [f32], &mut [f32]),
    scratch: &mut [f32],
) {
    let plan = Plan::new(g);
    let [x_len, dy_len] = plan.packed_len();
    let (sums, rest) = super::super::split(scratch, plan.blocks() * SIDE * SIDE);
    let (bias, rest) = super::super::split(rest, plan.bias_len());
    let (packed_x, rest) = super::super::split(rest, x_len);
    let (packed_dy, _) = super::super::split(rest, dy_len);
    let pairs = g.images.div_ceil(2);
    for first in (0..pairs).step_by(plan.block) {
        let count = plan.block.min(pairs - first);
        plan.pack_x(pool, x, first, &mut numbers(packed_x)[..]);
        plan.pack_dy(pool, dy, first, &mut numbers(packed_dy)[..count * plan.dy_len()], bias);
        let work = Work { plan: &plan, x: numbers(packed_x), dy: numbers(packed_dy), count };
        let chunk = PAIRS.min(plan.down()) * plan.across() * SIDE * SIDE;
        let row = plan.down() * plan.across() * SIDE * SIDE;
        let each_row = row.div_ceil(chunk);
        let sums = Shared::new(sums);
        pool.each(g.groups * g.window.0 * each_row, |idx| {
            let (at, part) = (idx / each_row, idx % each_row);
            let own = at * row + part * chunk..(at * row + (part + 1) * chunk).min((at + 1) * row);
            // SAFETY: chunks have different blocks of C.
            let sums = unsafe { sums.part(own) };
            let ready = engine.ready();
            work.chunk(&ready, at, part * PAIRS, sums.as_chunks_mut().0, first > 0);
        });
    }
    plan.unpack(pool, sums, dw);
    add_biases(&bias[..g.images * g.filters], db);
}

impl Plan {
    /// Packs images two by two; the last, if it is by itself, with itself: dy has zeros there.
    fn pack_x(&self, pool: &Pool, x: &[f32], first: usize, packed: &mut [Bf16]) {
        let (len, images) = (self.g.height * self.g.width * self.g.channels, self.g.images);
        pool.chunks(packed, self.x_len(), |idx, packed| {
            let pair =
                [2 * (first + idx), 2 * (first + idx) + 1].map(|image| image.min(images - 1));
            match packed.len() == self.x_len() && 2 * (first + idx) < images {
                true => {
                    let pair = pair.map(|image| &x[image * len..(image + 1) * len]);
                    self.seen.copy_pair(pair, packed);
                }
                false => packed.fill(0), // what tiles read beyond the last image
            }
        });
    }

    /// Packs dy of two images into panels `[group][panel][line][tile]` and sums over their pixels.
    fn pack_dy(
        &self,
        pool: &Pool,
        dy: &[f32],
        first: usize,
        packed: &mut [Bf16],
        bias: &mut [f32],
    ) {
        let g = &self.g;
        let pixels = g.out_height() * g.out_width();
        let bias = &mut bias[2 * first * g.filters..g.images * g.filters];
        pool.chunks2((packed, self.dy_len()), (bias, 2 * g.filters), |idx, packed, bias| {
            let pair = 2 * (first + idx);
            for (idx, panel) in packed.chunks_exact_mut(self.panel_len()).enumerate() {
                let filter = idx % self.panels() * TILE;
                let count = TILE.min(self.filters() - filter);
                let filter = idx / self.panels() * self.filters() + filter;
                pack::tiles(Source::AcrossA, panel, |tile| {
                    let places = self.lines.pixels(tile);
                    move |k| match places[k / 2] {
                        Some([i, j]) if pair + k % 2 < g.images => {
                            let pixel = (pair + k % 2) * pixels + i * g.out_width() + j;
                            &dy[pixel * g.filters + filter..][..count]
                        }
                        _ => &[],
                    }
                });
            }
            for (image, bias) in (pair..).zip(bias.chunks_exact_mut(g.filters)) {
                add_pixels(&dy[image * pixels * g.filters..][..pixels * g.filters], bias);
            }
        });
    }

    /// Turns blocks of C into filters.
    fn unpack(&self, pool: &Pool, sums: &[f32], dw: &mut [f32]) {
        let blocks = sums.as_chunks::<{ SIDE * SIDE }>().0;
        pool.chunks(dw, self.g.window.0 * self.run, |filter, dw| {
            let (group, f) = (filter / self.filters(), filter % self.filters());
            for (kh, dw) in dw.chunks_exact_mut(self.run).enumerate() {
                let row = (group * self.g.window.0 + kh) * self.down() + f / SIDE;
                let blocks = &blocks[row * self.across()..][..self.across()];
                for (block, dw) in blocks.iter().zip(dw.chunks_mut(SIDE)) {
                    dw.copy_from_slice(&block[f % SIDE * SIDE..][..dw.len()]);
                }
            }
        });
    }
}

/// Adds up an image of dy over its pixels, in f64.
fn add_pixels(dy: &[f32], bias: &mut [f32]) {
    let filters = bias.len();
    for (idx, bias) in bias.chunks_mut(RUN).enumerate() {
        sum_columns(dy, filters, idx * RUN, bias);
    }
}

/// The products of one block of images.
struct Work<'a> {
    plan: &'a Plan,
    x: &'a [Bf16],
    dy: &'a [Bf16],
    /// Pairs of images.
    count: usize,
}

impl Work<'_> {
    /// Some rows of blocks, from the `first` on, of a group and a row of the window.
    fn chunk(
        &self,
        ready: &Ready,
        group_and_row: usize,
        first: usize,
        sums: &mut [Sums],
        goes_on: bool,
    ) {
        let plan = self.plan;
        let (group, kh) = (group_and_row / plan.g.window.0, group_and_row % plan.g.window.0);
        let (seen, lines, stride) = (&plan.seen, &plan.lines, plan.g.stride);
        let pixel = 2 * stride * seen.group_channels();
        let (panel, line) = (plan.panel_len(), lines.of_line() * PACKED);
        for pair in (0..self.count).step_by(plan.visit) {
            let loops = [
                Loop {
                    count: plan.visit.min(self.count - pair),
                    a: plan.dy_len(),
                    b: plan.x_len(),
                },
                Loop { count: lines.count, a: line, b: 2 * stride * seen.line() },
                Loop { count: lines.of_line(), a: PACKED, b: TILE * pixel },
            ];
            let x = pair * plan.x_len() + 2 * (group * seen.group_len() + kh * seen.line());
            for (idx, sums) in sums.iter_mut().enumerate() {
                let (down, across) = (first + idx / plan.across(), idx % plan.across());
                let dy = pair * plan.dy_len() + (group * plan.panels() + 2 * down) * panel;
                let second = (2 * down + 1 < plan.panels()).then(|| dy + panel);
                let a = Tiles { numbers: self.dy, first: dy, second, row: SIDE };
                let at = x + 2 * SIDE * across;
                let second = (SIDE * across + TILE < plan.run).then(|| at + SIDE);
                let b = Tiles { numbers: self.x, first: at, second, row: pixel };
                let start = if goes_on || pair > 0 { Start::Sum } else { Start::Zero };
                ready.multiply(&Block { a, b, loops, start }, sums);
            }
        }
    }
}
