//! The forward pass for few images, as when a single picture is asked about.
//!
//! `y[n][o]` is a dot product of two runs that lie in memory as they are: w is read once, in
//! order, and nothing is packed. The floor is w's bytes: 235 MB for AlexNet's three layers, 4 ms at
//! 60 GB/s. A handful of rows of w at a time, each a stream of its own for the prefetcher, meets up
//! to four images, so that an element of w is multiplied as soon as it is loaded.
//!
//! A dot product is sixteen chains of fused multiply-adds: chain `l` has the elements `l`, `l` +
//! 16, ... in their order, and the chains are added up in pairs. So bits depend neither on threads,
//! nor on the instruction set, nor on how many images there are, so long as they are few.

use super::Geometry;
use crate::gemm::Shared;
use crate::simd::{self, flushed};
use pulp::{Simd, WithSimd};
use tensor::Pool;

/// More images than this are many: for them packing pays. Measured at AlexNet's three layers.
const MOST_IMAGES: usize = 8;
/// Chains of a dot product.
const CHAINS: usize = 16;
/// Rows of w that are read side by side.
const ROWS: usize = 4;
/// Rows of w that a thread takes at once.
const UNIT: usize = 32;

/// Whether this is the way to go.
pub(super) fn suits(g: &Geometry) -> bool {
    g.images <= MOST_IMAGES
}

/// `y = x w^T + b`, or the positive part of it.
pub(super) fn forward(
    pool: &Pool,
    g: &Geometry,
    (x, w, b): (&[f32], &[f32], &[f32]),
    y: &mut [f32],
) {
    let y = Shared::new(y);
    pool.each(g.outputs.div_ceil(UNIT), |unit| {
        let first = unit * UNIT;
        let rows = UNIT.min(g.outputs - first);
        let w = &w[first * g.inputs..(first + rows) * g.inputs];
        simd::arch().dispatch(Unit { g, x, w, b, y, first });
    });
}

/// Some rows of w, from the `first` on, and all images.
pub(super) struct Unit<'a> {
    pub g: &'a Geometry,
    pub x: &'a [f32],
    pub w: &'a [f32],
    /// The biases of all rows, these and the others.
    pub b: &'a [f32],
    pub y: Shared<'a>,
    pub first: usize,
}

impl WithSimd for Unit<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let inputs = self.g.inputs;
        for (idx, rows) in self.w.chunks(ROWS * inputs).enumerate() {
            let first = self.first + idx * ROWS;
            if rows.len() < ROWS * inputs {
                for (row, w) in rows.chunks_exact(inputs).enumerate() {
                    self.all_images(simd, [w], first + row);
                }
                continue;
            }
            let mut row = rows.chunks_exact(inputs);
            let w: [&[f32]; ROWS] = std::array::from_fn(|_| row.next().expect("four rows"));
            self.all_images(simd, w, first);
        }
    }
}

impl Unit<'_> {
    /// `R` rows of w, from the `first` on, for each image.
    #[inline(always)]
    fn all_images<S: Simd, const R: usize>(&self, simd: S, w: [&[f32]; R], first: usize) {
        let mut image = 0;
        // Registers: with sixteen floats in one, four rows by four images are sixteen sums.
        while S::F32_LANES >= CHAINS && image + 4 <= self.g.images {
            self.images::<S, R, 4>(simd, w, first, image);
            image += 4;
        }
        while S::F32_LANES >= CHAINS && image + 2 <= self.g.images {
            self.images::<S, R, 2>(simd, w, first, image);
            image += 2;
        }
        while image < self.g.images {
            self.images::<S, R, 1>(simd, w, first, image);
            image += 1;
        }
    }

    #[inline(always)]
    fn images<S: Simd, const R: usize, const N: usize>(
        &self,
        simd: S,
        w: [&[f32]; R],
        first: usize,
        image: usize,
    ) {
        let Geometry { inputs, outputs, relu, .. } = *self.g;
        let x: [&[f32]; N] = std::array::from_fn(|n| &self.x[(image + n) * inputs..][..inputs]);
        let sums = dot_products::<S, R, N>(simd, w, x);
        for (n, sums) in sums.iter().enumerate() {
            let at = (image + n) * outputs + first;
            // SAFETY: units have different columns of y.
            let y = unsafe { self.y.part(at..at + R) };
            for ((y, sum), bias) in y.iter_mut().zip(sums).zip(&self.b[first..]) {
                let value = sum + bias;
                *y = if relu && value <= 0.0 { 0.0 } else { flushed(value) };
            }
        }
    }
}

/// Every row of w with every image: all of one length.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // an iterator over chains would take their address
fn dot_products<S: Simd, const R: usize, const N: usize>(
    simd: S,
    w: [&[f32]; R],
    x: [&[f32]; N],
) -> [[f32; R]; N] {
    let vectors = CHAINS / S::F32_LANES;
    let whole = x[0].len() / CHAINS;
    let mut chains = [[[simd.splat_f32s(0.0); CHAINS]; R]; N];
    let w_vectors = w.map(|w| &S::as_simd_f32s(w).0[..whole * vectors]);
    let x_vectors = x.map(|x| &S::as_simd_f32s(x).0[..whole * vectors]);
    for k in 0..whole {
        for v in 0..vectors {
            let at = k * vectors + v;
            for r in 0..R {
                let w = w_vectors[r][at];
                for n in 0..N {
                    chains[n][r][v] = simd.mul_add_f32s(w, x_vectors[n][at], chains[n][r][v]);
                }
            }
        }
    }
    let mut sums = [[0.0; R]; N];
    for n in 0..N {
        for r in 0..R {
            let mut lanes = [0.0f32; CHAINS];
            S::as_mut_simd_f32s(&mut lanes).0.copy_from_slice(&chains[n][r][..vectors]);
            let rest = w[r][whole * CHAINS..].iter().zip(&x[n][whole * CHAINS..]);
            for (lane, (w, x)) in lanes.iter_mut().zip(rest) {
                *lane = w.mul_add(*x, *lane);
            }
            sums[n][r] = add_pairs(lanes);
        }
    }
    sums
}

/// The sum of all chains: the halves added, then their halves, and so on.
#[inline(always)]
fn add_pairs(mut lanes: [f32; CHAINS]) -> f32 {
    let mut half = CHAINS / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
