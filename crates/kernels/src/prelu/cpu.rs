//! On the CPU: vectors along the channels of a row.
//!
//! Memory bound: forward reads x and writes y, backward reads x and dy and writes dx.

use super::Geometry;
use crate::per_channel::sums;
use crate::simd::{CHUNK, flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// `slots` are x, a and y.
pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 3]) -> Result<()> {
    let ([x, a, y], pool) = cpu.floats_with_pool(slots);
    let (x, a, channels) = (&*x, &*a, g.channels);
    let run = CHUNK.div_ceil(channels) * channels;
    pool.chunks(y, run, |idx, y| {
        let x = &x[idx * run..][..y.len()];
        vectorized!({
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                for ((y, &x), &a) in y.iter_mut().zip(x).zip(a) {
                    *y = flushed(if x <= 0.0 { a * x } else { x });
                }
            }
        });
    });
    Ok(())
}

/// `slots` are x, a, dy and dx.
pub(super) fn backward_input(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let ([x, a, dy, dx], pool) = cpu.floats_with_pool(slots);
    let (x, a, dy, channels) = (&*x, &*a, &*dy, g.channels);
    let run = CHUNK.div_ceil(channels) * channels;
    pool.chunks(dx, run, |idx, dx| {
        let (x, dy) = (&x[idx * run..][..dx.len()], &dy[idx * run..][..dx.len()]);
        vectorized!({
            let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
            for (dx, (x, dy)) in dx.chunks_exact_mut(channels).zip(rows) {
                for (((dx, &x), &dy), &a) in dx.iter_mut().zip(x).zip(dy).zip(a) {
                    *dx = flushed(if x <= 0.0 { a * dy } else { dy });
                }
            }
        });
    });
    Ok(())
}

/// `slots` are x, dy, da and scratch memory.
pub(super) fn backward_slopes(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let ([x, dy, da, scratch], pool) = cpu.floats_with_pool(slots);
    sums(
        pool,
        g.channels,
        [x, dy],
        scratch,
        #[inline(always)]
        |_, x, dy| [if x > 0.0 { 0.0 } else { f64::from(x) * f64::from(dy) }],
        |channel, [sum]| da[channel] = flushed(sum as f32),
    );
    Ok(())
}
