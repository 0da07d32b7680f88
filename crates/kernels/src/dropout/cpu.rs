//! On the CPU: one Philox block per four units, drawn where it is used. Many blocks are computed at
//! once, a vector holding the same word of several. Slower than memory traffic (x read, y written):
//! the ten rounds of Philox take some 80 instructions per vector of eight blocks.

use super::Geometry;
use crate::simd::{CHUNK, flushed, vectorized};
use random::{Purpose, philox};
use tensor::{Cpu, Result, Slot};

/// Philox blocks computed at once, and the units that they decide.
const BLOCKS: usize = 64;
const STRIP: usize = 4 * BLOCKS;

/// y = m x, scaled.
pub(super) fn mask(cpu: &mut Cpu, g: &Geometry, clock: Slot, x: Slot, y: Slot) -> Result<()> {
    let &[low, high, step] = cpu.slice::<u32>(clock) else { unreachable!("three words") };
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let (x, scale, drop) = (&*x, g.training_scale(), g.drop);
    let draws = Draws { key: [low, high], rest: [g.layer, step, Purpose::Dropout.code()] };
    if !g.has_whole_blocks() {
        pool.chunks(y, CHUNK, |idx, y| {
            let first = idx * CHUNK;
            for (unit, (y, x)) in (first..).zip(y.iter_mut().zip(&x[first..])) {
                let kept = philox::unit(draws.word(g.number(unit))) >= drop;
                *y = if kept { flushed(x * scale) } else { 0.0 };
            }
        });
        return Ok(());
    }
    pool.chunks(y, CHUNK, |idx, y| {
        let (first, mut done) = (idx * CHUNK, 0);
        while done < y.len() {
            // Units with consecutive numbers: all, or those of a row.
            let unit = first + done;
            let run = g.run(unit).min(y.len() - done);
            let (x, y) = (&x[unit..unit + run], &mut y[done..done + run]);
            let block = (g.number(unit) / 4) as u32;
            vectorized!(draws.mask(block, drop, scale, x, y));
            done += run;
        }
    });
    Ok(())
}

/// The key, and the counter without the block number, of a layer's random words at one step.
#[derive(Clone, Copy)]
struct Draws {
    key: [u32; 2],
    rest: [u32; 3],
}

impl Draws {
    /// The word of unit `number`.
    fn word(self, number: usize) -> u32 {
        let [layer, step, purpose] = self.rest;
        philox::block(self.key, [(number / 4) as u32, layer, step, purpose])[number % 4]
    }

    /// y = m x, scaled, for consecutive units, the first being the first of `block`.
    #[inline(always)]
    fn mask(self, block: u32, drop: f32, scale: f32, x: &[f32], y: &mut [f32]) {
        for (strip, (y, x)) in y.chunks_mut(STRIP).zip(x.chunks(STRIP)).enumerate() {
            let block = block + (strip * BLOCKS) as u32;
            let words = philox::blocks::<BLOCKS>(self.key, block, self.rest);
            let mut in_order = [0; STRIP];
            for n in 0..BLOCKS {
                (0..4).for_each(|word| in_order[4 * n + word] = words[word][n]);
            }
            keep(&in_order, drop, scale, x, y);
        }
    }
}

/// y = scale x where the word, as a number in [0, 1), is at least `drop`, else 0.
#[inline(always)]
fn keep(words: &[u32; STRIP], drop: f32, scale: f32, x: &[f32], y: &mut [f32]) {
    for ((y, &x), &word) in y.iter_mut().zip(x).zip(words) {
        // A mask instead of a branch, which would be mispredicted half of the time.
        let kept = if philox::unit(word) >= drop { u32::MAX } else { 0 };
        *y = f32::from_bits(flushed(x * scale).to_bits() & kept);
    }
}

/// y = scale x.
pub(super) fn scale(cpu: &mut Cpu, scale: f32, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let x = &*x;
    pool.chunks(y, CHUNK, |idx, y| {
        let x = &x[idx * CHUNK..][..y.len()];
        vectorized!(y.iter_mut().zip(x).for_each(|(y, x)| *y = flushed(scale * x)));
    });
    Ok(())
}
