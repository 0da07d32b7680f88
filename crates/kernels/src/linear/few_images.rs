//! The forward pass for few images, as in the classification of a single photo.
//!
//! `y[n][o]` is a dot product of two contiguous rows: w is read once, in order, and nothing is
//! packed. A few rows of w at a time, each a stream for the hardware prefetcher, are multiplied by
//! up to four images, so that an element of w is used for all of them as soon as it is loaded.
//! Memory bound: w has 235 MB in AlexNet's three layers, 4 ms at 60 GB/s.
//!
//! A dot product is sixteen chains of fused multiply-adds: chain `l` has the elements `l`, `l` +
//! 16, ... in their order, and the chains are added in pairs. So results are bit-identical for any
//! number of threads, any instruction set, and any number of images up to the limit.

use super::Geometry;
use crate::gemm::SharedFloats;
use crate::operands::{Forward, ForwardSlices};
use crate::prefetch;
use crate::simd::{self, flushed};
use pulp::{Simd, WithSimd};
use tensor::Pool;

/// The most images of this algorithm; for more, packing pays. Measured with AlexNet's three layers.
const MAX_IMAGES: usize = 8;
/// Chains of a dot product.
const CHAINS: usize = 16;
/// Rows of w that are read concurrently.
const ROWS: usize = 4;
/// Rows of w per task.
const UNIT: usize = 32;
/// Bytes between what is read of a row and what is fetched meanwhile. The processor's prefetchers
/// stop at the end of each page of 4 KiB.
const AHEAD: usize = 2048;

/// Whether this algorithm is faster.
pub(super) fn suits(g: &Geometry) -> bool {
    g.images <= MAX_IMAGES
}

/// `y = x w^T + b`, with an optional ReLU.
pub(super) fn forward(pool: &Pool, g: &Geometry, Forward { x, w, b, y, .. }: ForwardSlices<'_>) {
    let y = SharedFloats::new(y);
    pool.each(g.outputs.div_ceil(UNIT), |unit| {
        let first = unit * UNIT;
        let rows = UNIT.min(g.outputs - first);
        let w = &w[first * g.inputs..(first + rows) * g.inputs];
        simd::arch().dispatch(Unit { g, x, w, b, y, first });
    });
}

/// Some rows of w, starting with row `first`, and all images.
pub(super) struct Unit<'a> {
    pub g: &'a Geometry,
    pub x: &'a [f32],
    pub w: &'a [f32],
    /// The biases of all rows of the layer.
    pub b: &'a [f32],
    pub y: SharedFloats<'a>,
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
    /// `R` rows of w, starting with row `first`, for each image.
    #[inline(always)]
    fn all_images<S: Simd, const R: usize>(&self, simd: S, w: [&[f32]; R], first: usize) {
        let mut image = 0;
        // With sixteen floats per register, four rows by four images are sixteen registers of sums.
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

/// Dot products of every row of w with every image.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // an iterator would take the chains' address
fn dot_products<S: Simd, const R: usize, const N: usize>(
    simd: S,
    w: [&[f32]; R],
    x: [&[f32]; N],
) -> [[f32; R]; N] {
    const { assert!(CHAINS * size_of::<f32>() == prefetch::LINE) };
    let vectors = CHAINS / S::F32_LANES;
    let whole = x[0].len() / CHAINS;
    let mut chains = [[[simd.splat_f32s(0.0); CHAINS]; R]; N];
    let w_vectors = w.map(|w| &S::as_simd_f32s(w).0[..whole * vectors]);
    let x_vectors = x.map(|x| &S::as_simd_f32s(x).0[..whole * vectors]);
    for k in 0..whole {
        for w in w {
            prefetch::to_read(w.as_ptr().cast::<u8>().wrapping_add(k * prefetch::LINE + AHEAD));
        }
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

/// The sum of all chains: adds the halves, then their halves, and so on.
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
