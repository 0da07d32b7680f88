//! Sizes at which errors show: one, primes, near the width of vectors, and a few others.

use proptest::prelude::*;
use proptest::sample::select;

/// Numbers of images.
pub fn images() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 5])
}

/// Sides of a map: 1 to 13.
pub fn side() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 4, 5, 6, 7, 11, 13])
}

/// Numbers of channels, on both sides of 8, 16, 32 and 64 floats.
pub fn channels() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 4, 7, 8, 9, 13, 16, 17, 31, 32, 33, 64, 67])
}

/// Sides of a window, odd and even.
pub fn window() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 4, 5, 7])
}

/// Strides.
pub fn stride() -> impl Strategy<Value = usize> {
    1usize..=4
}

/// Numbers of groups or towers.
pub fn groups() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3])
}
