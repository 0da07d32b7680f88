//! The gradient of the filters in bf16: a sum over the pixels of the batch.
//!
//! ```text
//! dw[f, kh, n] = sum over images, i, j of dy[i, j, f] x[stride i + kh, stride j, n]
//! ```
//!
//! where n runs over a row of the window, its pixels and their channels, and x has zeros around. k
//! runs over pixels, of images two by two ([`band`](super::band)). Where dw is small, threads
//! divide the pixels ([`pieces`]); here they divide dw: a block of images at a time is packed by
//! all threads.
//!
//! Sums lie block by block of C, in memory of their own, while k goes by: a thread has some filters
//! and a row of the window, and takes as many images at once as stay in its second-level cache.
//!
//! The floor: as many products as in the forward pass at AMX's peak, or x and dy read once from
//! memory.

use super::super::pixels::add_biases;
use super::super::split;
use super::band::{Band, Packed};
use super::pieces;
use crate::conv::Geometry;
use crate::gemm::Shared;
use crate::gemm::amx::{Bf16, Engine, Ready, SIDE, Sums, numbers};
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
    /// All rows of the output.
    band: Band,
    /// Pairs of images packed at once, and gone through with each block of C.
    block: usize,
    visit: usize,
}

impl Plan {
    fn new(g: &Geometry) -> Plan {
        let band = Band::new(g, 0..g.out_height());
        let block = BLOCK_NUMBERS / (band.x_len() + band.dy_len());
        let block = block.max(BLOCK_PAIRS).min(g.images.div_ceil(2));
        Plan { band, block, visit: (VISIT_NUMBERS / band.x_len()).clamp(1, block) }
    }

    /// A sum over dy for each image and filter.
    fn bias_len(&self) -> usize {
        (self.band.g.images * self.band.g.filters).next_multiple_of(32)
    }

    /// Floats of a block of packed x, and of dy.
    fn packed_len(&self) -> [usize; 2] {
        let x = self.block * self.band.x_len() + self.band.slack();
        [x.next_multiple_of(32) / 2, self.block * self.band.dy_len() / 2]
    }
}

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    if pieces::suit(g) {
        return pieces::scratch(g, threads);
    }
    let plan = Plan::new(g);
    let [x, dy] = plan.packed_len();
    plan.band.blocks() * SIDE * SIDE + plan.bias_len() + x + dy
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
    if pieces::suit(g) {
        return pieces::backward_filter(engine, pool, g, (x, dy), (dw, db), scratch);
    }
    let plan = Plan::new(g);
    let band = &plan.band;
    let [x_len, dy_len] = plan.packed_len();
    let (sums, rest) = split(scratch, band.blocks() * SIDE * SIDE);
    let (bias, rest) = split(rest, plan.bias_len());
    let (packed_x, rest) = split(rest, x_len);
    let (packed_dy, _) = split(rest, dy_len);
    let pairs = g.images.div_ceil(2);
    for first in (0..pairs).step_by(plan.block) {
        let count = plan.block.min(pairs - first);
        plan.pack_x(pool, x, first, &mut numbers(packed_x)[..]);
        plan.pack_dy(pool, dy, first, &mut numbers(packed_dy)[..count * band.dy_len()], bias);
        let packed = Packed { x: numbers(packed_x), dy: numbers(packed_dy), pairs: count };
        let row = band.down() * band.across() * SIDE * SIDE;
        let chunk = PAIRS.min(band.down()) * band.across() * SIDE * SIDE;
        let each_row = row.div_ceil(chunk);
        let sums = Shared::new(sums);
        pool.each(g.groups * g.window.0 * each_row, |idx| {
            let (at, part) = (idx / each_row, idx % each_row);
            let own = at * row + part * chunk..(at * row + (part + 1) * chunk).min((at + 1) * row);
            let block = own.start / (SIDE * SIDE);
            // SAFETY: chunks have different blocks of C.
            let sums = unsafe { sums.part(own) };
            plan.chunk(&engine.ready(), packed, block, sums.as_chunks_mut().0, first > 0);
        });
    }
    band.unpack(pool, sums, dw);
    add_biases(&bias[..g.images * g.filters], db);
}

impl Plan {
    fn pack_x(&self, pool: &Pool, x: &[f32], first: usize, packed: &mut [Bf16]) {
        let (len, images) = (self.band.x_len(), self.band.g.images);
        pool.chunks(packed, len, |idx, packed| {
            if packed.len() == len && 2 * (first + idx) < images {
                self.band.pack_x(x, first + idx, packed)
            } else {
                packed.fill(0) // beyond the last image: tiles read it
            }
        });
    }

    fn pack_dy(
        &self,
        pool: &Pool,
        dy: &[f32],
        first: usize,
        packed: &mut [Bf16],
        bias: &mut [f32],
    ) {
        let g = &self.band.g;
        let bias = &mut bias[2 * first * g.filters..g.images * g.filters];
        pool.chunks2((packed, self.band.dy_len()), (bias, 2 * g.filters), |idx, packed, bias| {
            self.band.pack_dy(dy, first + idx, packed, bias);
        });
    }

    /// Some blocks, from the `first` on, of a group and a row of the window.
    fn chunk(
        &self,
        ready: &Ready,
        packed: Packed<'_>,
        first: usize,
        sums: &mut [Sums],
        goes_on: bool,
    ) {
        let (x_len, dy_len) = (self.band.x_len(), self.band.dy_len());
        for pair in (0..packed.pairs).step_by(self.visit) {
            let visit = Packed {
                x: &packed.x[pair * x_len..],
                dy: &packed.dy[pair * dy_len..],
                pairs: self.visit.min(packed.pairs - pair),
            };
            for (block, sums) in (first..).zip(sums.iter_mut()) {
                let place = self.band.place(block);
                self.band.multiply(ready, visit, place, goes_on || pair > 0, sums);
            }
        }
    }
}
