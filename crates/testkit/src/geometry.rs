//! Sizes that find mistakes: one, primes, just around a vector's width, and a few others.

use proptest::prelude::*;
use proptest::sample::select;

/// How many images.
pub fn images() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 5])
}

/// The side of a map: 1 up to 13.
pub fn side() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 4, 5, 6, 7, 11, 13])
}

/// Channels, on both sides of 8, 16, 32 and 64 floats.
pub fn channels() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 4, 7, 8, 9, 13, 16, 17, 31, 32, 33, 64, 67])
}

/// The side of a window, odd and even.
pub fn window() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3, 4, 5, 7])
}

/// Pixels from one window to the next.
pub fn stride() -> impl Strategy<Value = usize> {
    1usize..=4
}

/// How many groups or towers.
pub fn groups() -> impl Strategy<Value = usize> {
    select(vec![1, 2, 3])
}
