//! On the CPU: a Philox block for every four units, drawn where it is used, many blocks at once so
//! that a vector holds the same word of several. The floor is memory, x read and y written; the ten
//! rounds of Philox take longer than that: some 80 instructions a vector of eight blocks.

use super::Geometry;
use crate::simd::{CHUNK, vectorized};
use random::{Purpose, philox};
use tensor::{Cpu, Result, Slot};

/// Philox blocks at once, and the units they decide about.
const BLOCKS: usize = 64;
const STRIP: usize = 4 * BLOCKS;

/// y = m x, scaled.
pub(super) fn mask(cpu: &mut Cpu, g: &Geometry, clock: Slot, x: Slot, y: Slot) -> Result<()> {
    let &[low, high, step] = cpu.slice::<u32>(clock) else { unreachable!("three words") };
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let (x, scale, drop, layer) = (&*x, g.training_scale(), g.drop, g.layer);
    pool.chunks(y, CHUNK, |idx, y| {
        let first = idx * CHUNK;
        let x = &x[first..first + y.len()];
        vectorized(
            #[inline(always)]
            || {
                let rest = [layer, step, Purpose::Dropout as u32];
                for (strip, (y, x)) in y.chunks_mut(STRIP).zip(x.chunks(STRIP)).enumerate() {
                    let block = (first / 4 + strip * BLOCKS) as u32;
                    let words = philox::blocks::<BLOCKS>([low, high], block, rest);
                    let mut in_order = [0; STRIP];
                    for n in 0..BLOCKS {
                        (0..4).for_each(|word| in_order[4 * n + word] = words[word][n]);
                    }
                    keep(&in_order, drop, scale, x, y);
                }
            },
        );
    });
    Ok(())
}

/// y = scale x where the word's number is at least `drop`, else 0.
#[inline(always)]
fn keep(words: &[u32; STRIP], drop: f32, scale: f32, x: &[f32], y: &mut [f32]) {
    for ((y, &x), &word) in y.iter_mut().zip(x).zip(words) {
        // Masked, since a branch that goes either way by chance is the slowest there is.
        let kept = if philox::unit(word) >= drop { u32::MAX } else { 0 };
        *y = f32::from_bits((x * scale).to_bits() & kept);
    }
}

/// y = scale x.
pub(super) fn scale(cpu: &mut Cpu, scale: f32, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let x = &*x;
    pool.chunks(y, CHUNK, |idx, y| {
        let x = &x[idx * CHUNK..][..y.len()];
        vectorized(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, x)| *y = scale * x),
        );
    });
    Ok(())
}
