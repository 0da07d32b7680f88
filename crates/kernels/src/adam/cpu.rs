//! On the CPU: one pass in chunks.
//!
//! Memory bound: 28 bytes per parameter, as dw, w and both moments are read and all but dw
//! written.

use super::{BETA_2, EPSILON, Hyperparameters, Moments};
use crate::sgd::Segment;
use crate::simd::{flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// Floats per chunk: 1 MB of dw, w, m and s.
const RUN: usize = 1 << 16;

pub(super) fn step(
    cpu: &mut Cpu,
    segments: &[Segment],
    Hyperparameters { table, corrections }: Hyperparameters,
    dw: Slot,
    w: Slot,
    Moments { first, second }: Moments,
) -> Result<()> {
    let ([table, corrections, dw, w, m, s], pool) =
        cpu.floats_with_pool([table, corrections, dw, w, first, second]);
    let (inverse, root) = (1.0 / corrections[0], corrections[1].sqrt());
    let (beta_2, complement) = (BETA_2 as f32, (1.0 - BETA_2) as f32);
    for (segment, row) in segments.iter().zip(table.chunks_exact(3)) {
        let &[rate, beta, decay] = row else { unreachable!("three values per segment") };
        if rate == 0.0 {
            continue;
        }
        let range = segment.start..segment.start + segment.len;
        let (dw, step_size) = (&dw[range.clone()], rate * inverse);
        let (m, s) = (&mut m[range.clone()], &mut s[range.clone()]);
        pool.chunks3((&mut w[range], RUN), (m, RUN), (s, RUN), |idx, w, m, s| {
            let dw = &dw[idx * RUN..][..w.len()];
            vectorized(
                #[inline(always)]
                || {
                    for (((w, m), s), dw) in w.iter_mut().zip(m).zip(s).zip(dw) {
                        let g = dw + decay * *w;
                        *m = flushed(beta * *m + (1.0 - beta) * g);
                        *s = flushed(beta_2 * *s + complement * (g * g));
                        *w = flushed(*w - step_size * *m / (s.sqrt() / root + EPSILON));
                    }
                },
            );
        });
    }
    Ok(())
}
