//! On the CPU: one pass in chunks.
//!
//! Memory bound: 20 bytes per parameter, as dw, w and v are read and w and v written.

use super::Segment;
use crate::simd::{flushed, vectorized};
use std::ops::Range;
use tensor::{Cpu, Result, Slot};

/// Floats per chunk: 768 KB of dw, w and v.
const RUN: usize = 1 << 16;

/// The range of every segment that is updated, and its row of the table.
pub(crate) fn updated(
    segments: &[Segment],
    table: &[f32],
) -> impl Iterator<Item = (Range<usize>, [f32; 3])> {
    let rows = segments.iter().zip(table.as_chunks::<3>().0);
    let updated = rows.filter(|(_, [rate, ..])| *rate != 0.0);
    updated.map(|(segment, row)| (segment.start..segment.start + segment.len, *row))
}

pub(super) fn step(
    cpu: &mut Cpu,
    segments: &[Segment],
    table: Slot,
    [dw, w, v]: [Slot; 3],
) -> Result<()> {
    let ([table, dw, w, v], pool) = cpu.floats_with_pool([table, dw, w, v]);
    for (range, [rate, momentum, decay]) in updated(segments, table) {
        let dw = &dw[range.clone()];
        pool.chunks2((&mut w[range.clone()], RUN), (&mut v[range], RUN), |idx, w, v| {
            let dw = &dw[idx * RUN..][..w.len()];
            vectorized!({
                for ((w, v), dw) in w.iter_mut().zip(v).zip(dw) {
                    *v = flushed(momentum * *v - rate * (dw + decay * *w));
                    *w = flushed(*w + *v);
                }
            });
        });
    }
    Ok(())
}
