//! The gradient of the filters in bf16 where it is small, as in conv1.
//!
//! Maps are large there and filters small: if threads divided dw, each would go through all of x
//! and dy, once for each row of the window, out of memory. So they divide the pixels, as
//! [`few_channels`](crate::conv::cpu::few_channels) in f32: the batch is cut into pieces, each with
//! sums of its own, which are added up in the order of the pieces. How many there are depends on
//! the shape alone, and so do the bits. A thread packs a [`Band`] of two images, or several pairs
//! where they are small, and multiplies it by all taps while it is in its second-level cache.
//!
//! The floor is to read dy once: 17 MB in the CIFAR networks' conv1 with 32 filters and 128 images,
//! 149 MB in AlexNet's, whose products take 9 ms of two cores besides.

use super::super::few_channels::add_pieces;
use super::super::pixels::add_biases;
use super::super::{cut, direct};
use super::band::{Band, Packed};
use crate::conv::Geometry;
use crate::gemm::amx::{Engine, Ready, SIDE, Sums, numbers};
use std::ops::Range;
use tensor::Pool;

/// Pieces that keep all threads busy to the end.
const PIECES: usize = 16;
/// Blocks of C in small sums.
const FEW_BLOCKS: usize = 80;
/// Numbers of x and dy that a thread packs at once: half of its second-level cache.
const NUMBERS: usize = 256 << 10;

/// Whether this is the way to go.
pub(super) fn suit(g: &Geometry) -> bool {
    Band::new(g, 0..1).blocks() <= FEW_BLOCKS
}

#[derive(Clone, Copy)]
struct Plan {
    g: Geometry,
    /// Rows of the output in a band, and bands in an image.
    rows: usize,
    bands: usize,
    /// Bands of pairs of images.
    parts: usize,
    pieces: usize,
    /// Parts that are packed at once: of one band of all rows.
    visit: usize,
}

impl Plan {
    fn new(g: &Geometry) -> Plan {
        let all = g.out_height();
        let len = |rows| Band::new(g, 0..rows).dy_len() + Band::new(g, 0..rows).x_len();
        let bands = len(all).div_ceil(NUMBERS).min(all);
        let rows = all.div_ceil(bands);
        let bands = all.div_ceil(rows);
        let parts = g.images.div_ceil(2) * bands;
        let pieces = PIECES.min(parts);
        let visit = if bands > 1 { 1 } else { (NUMBERS / len(all)).clamp(1, parts / pieces) };
        Plan { g: *g, rows, bands, parts, pieces, visit }
    }

    fn band(&self, idx: usize) -> Band {
        let top = idx * self.rows;
        Band::new(&self.g, top..(top + self.rows).min(self.g.out_height()))
    }

    /// Floats of a piece's sums.
    fn sums_len(&self) -> usize {
        self.band(0).blocks() * SIDE * SIDE
    }

    /// Floats of packed x and of dy: the first band is as large as any.
    fn packed_len(&self) -> [usize; 2] {
        let band = self.band(0);
        let x = (self.visit * band.x_len() + band.slack()).next_multiple_of(32) / 2;
        [x, self.visit * band.dy_len() / 2]
    }

    /// Floats of a thread's own memory.
    fn own_len(&self) -> usize {
        self.packed_len().iter().sum()
    }

    /// Sums over dy for each part: for both images and each filter.
    fn bias_len(&self) -> usize {
        self.parts * 2 * self.g.filters
    }
}

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let plan = Plan::new(g);
    plan.pieces * plan.sums_len() + threads * plan.own_len() + plan.bias_len()
}

/// The gradients of filters and biases.
pub(super) fn backward_filter(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (x, dy): (&[f32], &[f32]),
    (dw, db): (&mut [f32], &mut [f32]),
    scratch: &mut [f32],
) {
    let plan = Plan::new(g);
    let (sums_len, own_len) = (plan.sums_len(), plan.own_len());
    let (sums, rest) = cut(scratch, plan.pieces * sums_len);
    let (own, rest) = cut(rest, pool.threads() * own_len);
    let (bias, _) = cut(rest, plan.bias_len());
    pool.each_with_thread(plan.pieces, |piece, thread| {
        let parts = direct::share(plan.parts, piece, plan.pieces);
        // SAFETY: each thread has its own memory and runs one piece at a time; each piece has its
        // own sums and parts.
        let (own, sums, bias) = unsafe {
            (
                own.part(thread * own_len..(thread + 1) * own_len),
                sums.part(piece * sums_len..(piece + 1) * sums_len),
                bias.part(parts.start * 2 * g.filters..parts.end * 2 * g.filters),
            )
        };
        plan.piece(&engine.ready(), (x, dy), parts, own, (sums.as_chunks_mut().0, bias));
    });
    add_pieces(pool, &sums, plan.pieces, sums_len);
    // SAFETY: all threads are done with both.
    let (sums, bias) = unsafe { (sums.part(0..sums_len), bias.part(0..plan.bias_len())) };
    plan.band(0).unpack(pool, sums, dw);
    add_biases(bias, db);
}

impl Plan {
    /// Some parts, counted through all pairs of images.
    fn piece(
        &self,
        ready: &Ready,
        (x, dy): (&[f32], &[f32]),
        parts: Range<usize>,
        own: &mut [f32],
        (sums, bias): (&mut [Sums], &mut [f32]),
    ) {
        let (own_x, own_dy) = own.split_at_mut(self.packed_len()[0]);
        let (own_x, own_dy) = (numbers(own_x), numbers(own_dy));
        let mut biases = bias.chunks_exact_mut(2 * self.g.filters);
        for first in parts.clone().step_by(self.visit) {
            let pairs = self.visit.min(parts.end - first);
            let band = self.band(first % self.bands);
            let (x_len, dy_len) = (band.x_len(), band.dy_len());
            for idx in 0..pairs {
                let pair = (first + idx) / self.bands;
                let bias = biases.next().expect("of each part");
                bias.fill(0.0); // a last image by itself leaves the other's sums
                band.pack_x(x, pair, &mut own_x[idx * x_len..][..x_len]);
                band.pack_dy(dy, pair, &mut own_dy[idx * dy_len..][..dy_len], bias);
            }
            own_x[pairs * x_len..].fill(0); // what tiles read beyond the last image
            let packed = Packed { x: &*own_x, dy: &*own_dy, pairs };
            for (block, sums) in sums.iter_mut().enumerate() {
                band.multiply(ready, packed, band.place(block), first > parts.start, sums);
            }
        }
    }
}
