//! On the CPU: one pass in chunks.
//!
//! Memory bound: 20 bytes per parameter, as dw, w and v are read and w and v written.

use super::Segment;
use crate::simd::{flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// Floats per chunk: 768 KB of dw, w and v.
const RUN: usize = 1 << 16;

pub(super) fn step(
    cpu: &mut Cpu,
    segments: &[Segment],
    table: Slot,
    dw: Slot,
    w: Slot,
    v: Slot,
) -> Result<()> {
    let ([table, dw, w, v], pool) = cpu.floats_with_pool([table, dw, w, v]);
    for (segment, row) in segments.iter().zip(table.chunks_exact(3)) {
        let &[rate, momentum, decay] = row else { unreachable!("three values per segment") };
        if rate == 0.0 {
            continue;
        }
        let range = segment.start..segment.start + segment.len;
        let dw = &dw[range.clone()];
        pool.chunks2((&mut w[range.clone()], RUN), (&mut v[range], RUN), |idx, w, v| {
            let dw = &dw[idx * RUN..][..w.len()];
            vectorized(
                #[inline(always)]
                || {
                    for ((w, v), dw) in w.iter_mut().zip(v).zip(dw) {
                        *v = flushed(momentum * *v - rate * (dw + decay * *w));
                        *w = flushed(*w + *v);
                    }
                },
            );
        });
    }
    Ok(())
}
