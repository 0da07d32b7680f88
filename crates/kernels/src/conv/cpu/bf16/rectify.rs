//! From a tile's sums to the output.
//!
//! The floor is memory: y is written once.

use crate::gemm::amx::{SIDE, Sums};

/// Sums on whole lines of the cache.
#[repr(align(64))]
pub(super) struct Aligned(pub Sums);

/// Writes a pixel's sums, rectified if `relu` says so.
///
/// Loops over so many sums as the compiler knows of become vectors; `map`'s array would be laid
/// down on the stack.
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
