//! The tile in plain Rust.
//!
//! No lower bound is known: it is as fast as the compiler makes it.

use super::{Layout, Start, Tile};
use crate::simd::flushed;

const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// # Safety
/// [`Isa::tile`](super::Isa::tile) has checked the tile; `c` is its first element.
pub(super) unsafe fn run(tile: &Tile<'_>, c: *mut f32) {
    // Rows beyond the last repeat it; their sums are discarded.
    let (row, k_step) = match tile.layout {
        Layout::Rows(row) => (row, 1),
        Layout::Columns(k) => (1, k),
    };
    let rows: [usize; ROWS] = std::array::from_fn(|r| r.min(tile.rows - 1) * row);
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    for (r, sums) in sums.iter_mut().enumerate().take(tile.rows) {
        let sums = &mut sums[..tile.columns];
        match tile.start {
            Start::Zero => {}
            // SAFETY: the tile's elements of C are exclusively ours.
            Start::Sum => sums.copy_from_slice(unsafe {
                std::slice::from_raw_parts(c.add(r * tile.c_row), tile.columns)
            }),
            Start::Bias(bias) => sums.copy_from_slice(&bias[..tile.columns]),
        }
    }
    for outer in 0..tile.outer.count {
        for middle in 0..tile.middle.count {
            let mut a = outer * tile.outer.a + middle * tile.middle.a;
            let mut b = outer * tile.outer.b + middle * tile.middle.b;
            for _ in 0..tile.inner {
                let b_row: &[f32; COLUMNS] = tile.b[b..b + COLUMNS].try_into().expect("a row of B");
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let a = tile.a[a + row];
                    sums.iter_mut().zip(b_row).for_each(|(sum, &b)| *sum = a.mul_add(b, *sum));
                }
                a += k_step;
                b += COLUMNS;
            }
        }
    }
    for (r, sums) in sums.iter().enumerate().take(tile.rows) {
        // SAFETY: the tile's elements of C are exclusively ours.
        let c = unsafe { std::slice::from_raw_parts_mut(c.add(r * tile.c_row), tile.columns) };
        for (c, &sum) in c.iter_mut().zip(sums) {
            let sum = if tile.relu && sum < 0.0 { 0.0 } else { sum };
            *c = if tile.last { flushed(sum) } else { sum };
        }
    }
}
