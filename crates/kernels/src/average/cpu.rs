//! On the CPU: one pass in chunks.

use crate::simd::{CHUNK, flushed, vectorized};
use tensor::{Cpu, Result, Slot};

pub(super) fn step(cpu: &mut Cpu, factor: Slot, x: Slot, y: Slot) -> Result<()> {
    let ([factor, x, y], pool) = cpu.floats_with_pool([factor, x, y]);
    let factor = factor[0];
    pool.chunks(y, CHUNK, |idx, y| {
        let x = &x[idx * CHUNK..][..y.len()];
        vectorized!({
            if factor < 0.5 {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = flushed(*y + factor * (x - *y));
                }
            } else {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = flushed(x - (1.0 - factor) * (x - *y));
                }
            }
        });
    });
    Ok(())
}
