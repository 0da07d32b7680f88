//! The gradient of the filters in bf16: a sum over the pixels of the batch.
//!
//! ```text
//! dw[f, kh, n] = sum over images, i, j of dy[i, j, f] x[stride i + kh, stride j, n]
//! ```
//!
//! where n runs over a row of the window, its pixels and their channels, and x is padded with
//! zeros. k runs over pixels of pairs of images ([`band`](super::band)). For small dw, threads
//! divide the pixels ([`pieces`]); here they divide dw: a block of images at a time is packed by
//! all threads.
//!
//! Sums are stored block by block of C in scratch memory until the last image. A thread has
//! some filters and a row of the window, and multiplies as many images at once as stay in its L2
//! cache.
//!
//! Lower bound: as many products as in the forward pass at AMX's peak, or reading x and dy once
//! from memory.

use super::super::pixels::add_biases;
use super::super::split;
use super::band::{PackedBand, PackedPairs};
use super::pieces;
use crate::conv::Geometry;
use crate::gemm::SharedFloats;
use crate::gemm::amx::{Bf16, BlockSums, Configured, MatrixUnit, SIDE, as_bf16, as_bf16_mut};
use crate::operands::{BackwardWeights, BackwardWeightsSlices};
use tensor::Pool;

/// Elements of x and dy that are packed at once, and the least number of pairs of images per block,
/// so that packing keeps all threads busy.
const BLOCK_ELEMENTS: usize = 8 << 20;
const BLOCK_PAIRS: usize = 4;
/// Elements of x that a thread multiplies with each block of C.
const VISIT_ELEMENTS: usize = 512 << 10;
/// Pairs of panels of dy, 32 filters each, per chunk.
const PAIRS: usize = 2;

/// How the work is divided.
#[derive(Clone, Copy)]
struct FilterPlan {
    /// All rows of the output.
    band: PackedBand,
    /// Pairs of images packed at once, and multiplied with each block of C.
    block: usize,
    visit: usize,
}

impl FilterPlan {
    fn new(g: &Geometry) -> FilterPlan {
        let band = PackedBand::new(g, 0..g.out_height());
        let block = BLOCK_ELEMENTS / (band.x_len() + band.dy_len());
        let block = block.max(BLOCK_PAIRS).min(g.images.div_ceil(2));
        FilterPlan { band, block, visit: (VISIT_ELEMENTS / band.x_len()).clamp(1, block) }
    }

    /// Floats of the sums over dy for each image and filter.
    fn bias_len(&self) -> usize {
        (self.band.g.images * self.band.g.filters).next_multiple_of(32)
    }

    /// Floats of a block of packed x, and of packed dy.
    fn packed_len(&self) -> [usize; 2] {
        let x = self.block * self.band.x_len() + self.band.slack();
        [x.next_multiple_of(32) / 2, self.block * self.band.dy_len() / 2]
    }
}

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    if pieces::suits(g) {
        return pieces::scratch(g, threads);
    }
    let plan = FilterPlan::new(g);
    let [x, dy] = plan.packed_len();
    plan.band.blocks() * SIDE * SIDE + plan.bias_len() + x + dy
}

/// The gradients of filters and biases.
pub(in super::super::super) fn backward_filter(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    operands: BackwardWeightsSlices<'_>,
) {
    if pieces::suits(g) {
        return pieces::backward_filter(unit, pool, g, operands);
    }
    let BackwardWeights { x, dy, dw, db, scratch } = operands;
    let plan = FilterPlan::new(g);
    let band = &plan.band;
    let [x_len, dy_len] = plan.packed_len();
    let (sums, rest) = split(scratch, band.blocks() * SIDE * SIDE);
    let (bias, rest) = split(rest, plan.bias_len());
    let (packed_x, rest) = split(rest, x_len);
    let (packed_dy, _) = split(rest, dy_len);
    let pairs = g.images.div_ceil(2);
    for first in (0..pairs).step_by(plan.block) {
        let count = plan.block.min(pairs - first);
        plan.pack_x(pool, x, first, as_bf16_mut(packed_x));
        plan.pack_dy(pool, dy, first, &mut as_bf16_mut(packed_dy)[..count * band.dy_len()], bias);
        let (x, dy) = (as_bf16(packed_x), as_bf16(packed_dy));
        let packed = PackedPairs { x, dy, pairs: count };
        let row = band.down() * band.across() * SIDE * SIDE;
        let chunk = PAIRS.min(band.down()) * band.across() * SIDE * SIDE;
        let each_row = row.div_ceil(chunk);
        let sums = SharedFloats::new(sums);
        pool.each(g.groups * g.window.0 * each_row, |idx| {
            let (at, part) = (idx / each_row, idx % each_row);
            let own = at * row + part * chunk..(at * row + (part + 1) * chunk).min((at + 1) * row);
            let block = own.start / (SIDE * SIDE);
            // SAFETY: chunks have different blocks of C.
            let sums = unsafe { sums.part(own) };
            plan.chunk(&unit.configure(), packed, block, sums.as_chunks_mut().0, first > 0);
        });
    }
    band.unpack(pool, sums, dw);
    add_biases(&bias[..g.images * g.filters], db);
}

impl FilterPlan {
    fn pack_x(&self, pool: &Pool, x: &[f32], first: usize, packed: &mut [Bf16]) {
        let (len, images) = (self.band.x_len(), self.band.g.images);
        pool.chunks(packed, len, |idx, packed| {
            if packed.len() == len && 2 * (first + idx) < images {
                self.band.pack_x(x, first + idx, packed)
            } else {
                packed.fill(0) // tiles read beyond the last image
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

    /// Some blocks of a group and a row of the window, starting with block `first`.
    fn chunk(
        &self,
        configured: &Configured,
        packed: PackedPairs<'_>,
        first: usize,
        sums: &mut [BlockSums],
        goes_on: bool,
    ) {
        let (x_len, dy_len) = (self.band.x_len(), self.band.dy_len());
        for pair in (0..packed.pairs).step_by(self.visit) {
            let visit = PackedPairs {
                x: &packed.x[pair * x_len..],
                dy: &packed.dy[pair * dy_len..],
                pairs: self.visit.min(packed.pairs - pair),
            };
            for (block, sums) in (first..).zip(sums.iter_mut()) {
                let position = self.band.position(block);
                self.band.multiply(configured, visit, position, goes_on || pair > 0, sums);
            }
        }
    }
}
