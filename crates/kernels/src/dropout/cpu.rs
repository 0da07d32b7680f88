//! On the CPU: a Philox block for every four units, drawn where it is used.

use super::Geometry;
use crate::simd::{CHUNK, vectorized};
use random::{Purpose, philox};
use tensor::{Cpu, Result, Slot};

/// y = m x, scaled.
pub(super) fn mask(cpu: &mut Cpu, g: &Geometry, clock: Slot, x: Slot, y: Slot) -> Result<()> {
    let &[low, high, step] = cpu.slice::<u32>(clock) else { unreachable!("three words") };
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let (x, scale, drop, layer) = (&*x, g.training_scale(), g.drop, g.layer);
    let draw = |block: usize| {
        philox::block([low, high], [block as u32, layer, step, Purpose::Dropout as u32])
    };
    if !g.has_whole_blocks() {
        pool.chunks(y, CHUNK, |idx, y| {
            let first = idx * CHUNK;
            for (unit, (y, x)) in (first..).zip(y.iter_mut().zip(&x[first..])) {
                let number = g.number(unit);
                let word = draw(number / 4)[number % 4];
                *y = if philox::unit(word) >= drop { x * scale } else { 0.0 };
            }
        });
        return Ok(());
    }
    pool.chunks(y, CHUNK, |idx, y| {
        let first = idx * CHUNK;
        let x = &x[first..first + y.len()];
        vectorized(
            #[inline(always)]
            || {
                for (block, (y, x)) in y.chunks_mut(4).zip(x.chunks(4)).enumerate() {
                    let number = g.number(first + 4 * block);
                    let counter = [(number / 4) as u32, layer, step, Purpose::Dropout as u32];
                    let words = philox::block([low, high], counter);
                    for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
                        *y = if philox::unit(word) >= drop { x * scale } else { 0.0 };
                    }
                }
            },
        );
    });
    Ok(())
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
