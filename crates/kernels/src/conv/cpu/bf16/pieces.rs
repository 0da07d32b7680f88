//! The gradient of the filters in bf16 for small filters, as in conv1.
//!
//! Maps are large there and filters small: if threads divided dw, each would read all of x and dy
//! from memory, once for each row of the window. So they divide the pixels, as in
//! [`few_channels`](crate::conv::cpu::few_channels) for f32: the batch is split into pieces with
//! separate sums, which are added in the order of the pieces. Their number depends on the shape
//! only, and so do the results. A thread packs a [`PackedBand`] of two images, or several pairs of
//! small ones, and multiplies it by all taps while it is in the L2 cache.
//!
//! Lower bound: reading dy once, 17 MB in the CIFAR networks' conv1 with 32 filters and 128 images,
//! and 149 MB in AlexNet's, plus the products, 9 ms of two cores in AlexNet's.

use super::super::few_channels::add_pieces;
use super::super::pixels::add_biases;
use super::super::{direct, split_shared};
use super::band::{PackedBand, PackedPairs};
use crate::conv::Geometry;
use crate::gemm::amx::{BlockSums, Configured, MatrixUnit, SIDE, as_bf16_mut};
use crate::operands::{BackwardWeights, BackwardWeightsSlices};
use std::ops::Range;
use tensor::Pool;

/// The number of pieces that keeps all threads busy to the end.
const PIECES: usize = 16;
/// The most blocks of C for which this algorithm is used.
const FEW_BLOCKS: usize = 80;
/// Elements of x and dy that a thread packs at once: half of its L2 cache.
const ELEMENTS: usize = 256 << 10;

/// Whether this algorithm is used.
pub(super) fn suits(g: &Geometry) -> bool {
    PackedBand::new(g, 0..1).blocks() <= FEW_BLOCKS
}

#[derive(Clone, Copy)]
struct PiecesPlan {
    g: Geometry,
    /// Rows of the output per band, and bands per image.
    rows: usize,
    bands: usize,
    /// Bands of pairs of images.
    parts: usize,
    pieces: usize,
    /// Parts that are packed at once; more than one only if a band has all rows.
    visit: usize,
}

impl PiecesPlan {
    fn new(g: &Geometry) -> PiecesPlan {
        let all = g.out_height();
        let len = |rows| PackedBand::new(g, 0..rows).dy_len() + PackedBand::new(g, 0..rows).x_len();
        let bands = len(all).div_ceil(ELEMENTS).min(all);
        let rows = all.div_ceil(bands);
        let bands = all.div_ceil(rows);
        let parts = g.images.div_ceil(2) * bands;
        let pieces = PIECES.min(parts);
        let visit = if bands > 1 { 1 } else { (ELEMENTS / len(all)).clamp(1, parts / pieces) };
        PiecesPlan { g: *g, rows, bands, parts, pieces, visit }
    }

    fn band(&self, idx: usize) -> PackedBand {
        let top = idx * self.rows;
        PackedBand::new(&self.g, top..(top + self.rows).min(self.g.out_height()))
    }

    /// Floats of a piece's sums.
    fn sums_len(&self) -> usize {
        self.band(0).blocks() * SIDE * SIDE
    }

    /// Floats of packed x and of dy; the first band is the largest.
    fn packed_len(&self) -> [usize; 2] {
        let band = self.band(0);
        let x = (self.visit * band.x_len() + band.slack()).next_multiple_of(32) / 2;
        [x, self.visit * band.dy_len() / 2]
    }

    /// Floats of a thread's buffers.
    fn own_len(&self) -> usize {
        self.packed_len().iter().sum()
    }

    /// Floats of the sums over dy for each part, image of a pair, and filter.
    fn bias_len(&self) -> usize {
        self.parts * 2 * self.g.filters
    }
}

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let plan = PiecesPlan::new(g);
    plan.pieces * plan.sums_len() + threads * plan.own_len() + plan.bias_len()
}

/// The gradients of filters and biases.
pub(super) fn backward_filter(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    BackwardWeights { x, dy, dw, db, scratch }: BackwardWeightsSlices<'_>,
) {
    let plan = PiecesPlan::new(g);
    let (sums_len, own_len) = (plan.sums_len(), plan.own_len());
    let (sums, rest) = split_shared(scratch, plan.pieces * sums_len);
    let (own, rest) = split_shared(rest, pool.threads() * own_len);
    let (bias, _) = split_shared(rest, plan.bias_len());
    pool.each_with_thread(plan.pieces, |piece, thread| {
        let parts = direct::share(plan.parts, piece, plan.pieces);
        // SAFETY: each thread has its own buffers and runs one piece at a time; each piece has its
        // own sums and parts.
        let (own, sums, bias) = unsafe {
            (
                own.part(thread * own_len..(thread + 1) * own_len),
                sums.part(piece * sums_len..(piece + 1) * sums_len),
                bias.part(parts.start * 2 * g.filters..parts.end * 2 * g.filters),
            )
        };
        let buffers = Buffers { own, sums: sums.as_chunks_mut().0, bias };
        plan.piece(&unit.configure(), x, dy, parts, buffers);
    });
    add_pieces(pool, &sums, plan.pieces, sums_len);
    // SAFETY: all threads have finished.
    let (sums, bias) = unsafe { (sums.part(0..sums_len), bias.part(0..plan.bias_len())) };
    plan.band(0).unpack(pool, sums, dw);
    add_biases(bias, db);
}

/// What a piece writes.
struct Buffers<'a> {
    /// The thread's packed operands.
    own: &'a mut [f32],
    sums: &'a mut [BlockSums],
    bias: &'a mut [f32],
}

impl PiecesPlan {
    /// Some parts, numbered over all pairs of images.
    fn piece(
        &self,
        configured: &Configured,
        x: &[f32],
        dy: &[f32],
        parts: Range<usize>,
        Buffers { own, sums, bias }: Buffers<'_>,
    ) {
        let (own_x, own_dy) = own.split_at_mut(self.packed_len()[0]);
        let (own_x, own_dy) = (as_bf16_mut(own_x), as_bf16_mut(own_dy));
        let mut biases = bias.chunks_exact_mut(2 * self.g.filters);
        for first in parts.clone().step_by(self.visit) {
            let pairs = self.visit.min(parts.end - first);
            let band = self.band(first % self.bands);
            let (x_len, dy_len) = (band.x_len(), band.dy_len());
            for idx in 0..pairs {
                let pair = (first + idx) / self.bands;
                let bias = biases.next().expect("a bias for each part");
                bias.fill(0.0); // a last single image does not write the second sums
                band.pack_x(x, pair, &mut own_x[idx * x_len..][..x_len]);
                band.pack_dy(dy, pair, &mut own_dy[idx * dy_len..][..dy_len], bias);
            }
            own_x[pairs * x_len..].fill(0); // tiles read beyond the last image
            let packed = PackedPairs { x: &*own_x, dy: &*own_dy, pairs };
            for (block, sums) in sums.iter_mut().enumerate() {
                let position = band.position(block);
                band.multiply(configured, packed, position, first > parts.start, sums);
            }
        }
    }
}
