//! Writes a tile's sums to the output.
//!
//! Memory bound: y is written once.

use crate::gemm::amx::{BlockSums, SIDE};

/// Sums, aligned to cache lines.
#[repr(align(64))]
pub(super) struct Aligned(pub BlockSums);

/// Writes a pixel's sums, rectified if `relu` is set.
///
/// The loops have a constant length, so that they are vectorized; the array of `map` would be
/// stored on the stack.
#[inline(always)]
pub(super) fn rectify(y: &mut [f32], sums: &[f32; SIDE], relu: bool) {
    let Some(whole) = y.as_mut_array::<SIDE>() else {
        for (y, &sum) in y.iter_mut().zip(sums) {
            *y = if relu { positive(sum) } else { sum };
        }
        return;
    };
    *whole = *sums;
    if relu {
        for y in whole {
            *y = positive(*y);
        }
    }
}

/// NaN stays NaN.
#[inline(always)]
fn positive(sum: f32) -> f32 {
    if sum <= 0.0 { 0.0 } else { sum }
}
