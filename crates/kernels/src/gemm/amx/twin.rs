//! AMX in plain Rust: Intel's description of `TDPBF16PS`, bit-identical.

use super::{Bf16, Block, BlockSums, DEPTH, SIDE, TILE, Tiles, begin};
use crate::simd::{self, flushed};

/// As [`Configured::multiply`](super::Configured::multiply), where no loop is empty.
pub(super) fn multiply(block: &Block<'_>, sums: &mut BlockSums) {
    begin(block.start, sums);
    // Compiled for processors with fused multiply-adds: without them each would be a call.
    simd::vectorized!(all_tiles(block, sums));
}

#[inline(always)]
fn all_tiles(block: &Block<'_>, sums: &mut BlockSums) {
    let [outer, middle, inner] = block.loops;
    for i in 0..outer.count {
        for j in 0..middle.count {
            for k in 0..inner.count {
                let a = i * outer.a + j * middle.a + k * inner.a;
                let b = i * outer.b + j * middle.b + k * inner.b;
                for (down, a_first) in firsts(&block.a) {
                    for (across, b_first) in firsts(&block.b) {
                        let a = &block.a.elements[a_first + a..];
                        let b = &block.b.elements[b_first + b..];
                        let c = &mut sums[TILE * (down * SIDE + across)..];
                        tile(a, block.a.row, b, block.b.row, c);
                    }
                }
            }
        }
    }
}

fn firsts(tiles: &Tiles<'_>) -> impl Iterator<Item = (usize, usize)> {
    [Some(tiles.first), tiles.second].into_iter().flatten().enumerate()
}

/// One `TDPBF16PS`.
#[inline(always)]
fn tile(a: &[Bf16], a_row: usize, b: &[Bf16], b_row: usize, c: &mut [f32]) {
    for m in 0..TILE {
        let a = &a[m * a_row..][..DEPTH];
        let c = &mut c[m * SIDE..][..TILE];
        let mut sums = [[0.0f32; TILE]; 2];
        for pair in 0..TILE {
            let b = &b[pair * b_row..][..DEPTH];
            for (odd, sums) in sums.iter_mut().enumerate() {
                let a = wide(a[2 * pair + odd]);
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = flushed(a.mul_add(wide(b[2 * n + odd]), *sum));
                }
            }
        }
        for (n, c) in c.iter_mut().enumerate() {
            *c = flushed(flushed(*c) + flushed(sums[0][n] + sums[1][n]));
        }
    }
}

#[inline(always)]
fn wide(value: Bf16) -> f32 {
    flushed(f32::from_bits(u32::from(value) << 16))
}
