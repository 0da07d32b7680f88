//! On the CPU: one pass in chunks.
//!
//! Memory bound: 20 bytes per parameter, as dw, w and v are read and w and v written.

use super::{Rule, Segment};
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
    rule: Rule,
    segments: &[Segment],
    table: Slot,
    [dw, w, v]: [Slot; 3],
) -> Result<()> {
    let ([table, dw, w, v], pool) = cpu.floats_with_pool([table, dw, w, v]);
    for (range, row) in updated(segments, table) {
        let dw = &dw[range.clone()];
        pool.chunks2((&mut w[range.clone()], RUN), (&mut v[range], RUN), |idx, w, v| {
            let dw = &dw[idx * RUN..][..w.len()];
            vectorized!(update(rule, row, dw, w, v));
        });
    }
    Ok(())
}

#[inline(always)]
fn update(rule: Rule, [rate, momentum, decay]: [f32; 3], dw: &[f32], w: &mut [f32], v: &mut [f32]) {
    let all = w.iter_mut().zip(v).zip(dw);
    match rule {
        Rule::Paper => {
            for ((w, v), dw) in all {
                *v = flushed(momentum * *v - rate * (dw + decay * *w));
                *w = flushed(*w + *v);
            }
        }
        Rule::PaperNesterov => {
            for ((w, v), dw) in all {
                let change = rate * (dw + decay * *w);
                *v = flushed(momentum * *v - change);
                *w = flushed(*w + (momentum * *v - change));
            }
        }
        Rule::Pytorch => {
            for ((w, v), dw) in all {
                *v = flushed(momentum * *v + (dw + decay * *w));
                *w = flushed(*w - rate * *v);
            }
        }
        Rule::PytorchNesterov => {
            for ((w, v), dw) in all {
                let g = dw + decay * *w;
                *v = flushed(momentum * *v + g);
                *w = flushed(*w - rate * (g + momentum * *v));
            }
        }
    }
}
