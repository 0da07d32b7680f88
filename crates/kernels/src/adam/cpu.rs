//! On the CPU: one pass in chunks.
//!
//! Memory bound: 28 bytes per parameter, as dw, w and both moments are read and all but dw
//! written.

use super::{BETA_2, EPSILON, Hyperparameters};
use crate::sgd::{Segment, updated};
use crate::simd::{flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// Floats per chunk: 1 MB of dw, w, m and s.
const RUN: usize = 1 << 16;

pub(super) fn step(
    cpu: &mut Cpu,
    segments: &[Segment],
    Hyperparameters { table, corrections, decoupled }: Hyperparameters,
    [dw, w, m, s]: [Slot; 4],
) -> Result<()> {
    let ([table, corrections, dw, w, m, s], pool) =
        cpu.floats_with_pool([table, corrections, dw, w, m, s]);
    let (inverse, root) = (1.0 / corrections[0], corrections[1].sqrt());
    let (beta_2, complement) = (BETA_2 as f32, (1.0 - BETA_2) as f32);
    for (range, [rate, beta, decay]) in updated(segments, table) {
        let (dw, step_size) = (&dw[range.clone()], rate * inverse);
        let (m, s) = (&mut m[range.clone()], &mut s[range.clone()]);
        pool.chunks3((&mut w[range], RUN), (m, RUN), (s, RUN), |idx, w, m, s| {
            let dw = &dw[idx * RUN..][..w.len()];
            if decoupled {
                let kept = 1.0 - rate * decay;
                vectorized!({
                    for (((w, m), s), &g) in w.iter_mut().zip(&mut *m).zip(&mut *s).zip(dw) {
                        *m = flushed(beta * *m + (1.0 - beta) * g);
                        *s = flushed(beta_2 * *s + complement * (g * g));
                        *w = flushed(kept * *w - step_size * *m / (s.sqrt() / root + EPSILON));
                    }
                });
                return;
            }
            vectorized!({
                for (((w, m), s), dw) in w.iter_mut().zip(&mut *m).zip(&mut *s).zip(dw) {
                    let g = dw + decay * *w;
                    *m = flushed(beta * *m + (1.0 - beta) * g);
                    *s = flushed(beta_2 * *s + complement * (g * g));
                    *w = flushed(*w - step_size * *m / (s.sqrt() / root + EPSILON));
                }
            });
        });
    }
    Ok(())
}
