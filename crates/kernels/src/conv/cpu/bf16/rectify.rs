//! Writes a tile's sums to the output.
//!
//! Memory bound: y is written once.

use crate::gemm::amx::{BlockSums, SIDE};
use crate::value::Value;

/// Sums, aligned to cache lines.
#[repr(align(64))]
pub(super) struct Aligned(pub BlockSums);

/// Writes a pixel's sums, rectified if `relu` is set.
///
/// The loops have a constant length, so that they are vectorized; the array of `map` would be
/// stored on the stack.
#[inline(always)]
pub(super) fn rectify<T: Value>(y: &mut [T], sums: &[f32; SIDE], relu: bool) {
    let Some(whole) = y.as_mut_array::<SIDE>() else {
        for (y, &sum) in y.iter_mut().zip(sums) {
            *y = T::rounded(if relu { positive(sum) } else { sum });
        }
        return;
    };
    if relu {
        for (y, &sum) in whole.iter_mut().zip(sums) {
            *y = T::rounded(positive(sum));
        }
    } else {
        for (y, &sum) in whole.iter_mut().zip(sums) {
            *y = T::rounded(sum);
        }
    }
}

/// NaN stays NaN.
#[inline(always)]
fn positive(sum: f32) -> f32 {
    if sum <= 0.0 { 0.0 } else { sum }
}
