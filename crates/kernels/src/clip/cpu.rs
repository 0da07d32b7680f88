//! On the CPU: some rows per task; eight partial sums of a block, in a fixed order.

use super::{BLOCK, Rows};
use crate::sgd::Segment;
use crate::simd::{flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// Floats per task, about.
const RUN: usize = 1 << 16;

pub(super) fn norms(cpu: &mut Cpu, all: &[Rows], limit: f32, dw: Slot, norms: Slot) -> Result<()> {
    let ([dw, norms], pool) = cpu.floats_with_pool([dw, norms]);
    for rows in all.iter().filter(|rows| rows.row * rows.count > 0) {
        let each = (RUN / rows.row).max(1);
        let dw = &mut dw[rows.start..rows.start + rows.row * rows.count];
        let norms = &mut norms[rows.at..rows.at + rows.blocks()];
        let blocks = each * Rows::blocks_of(rows.row);
        pool.chunks2((dw, each * rows.row), (norms, blocks), |_, dw, norms| {
            let each = dw.chunks_mut(rows.row).flat_map(|row| row.chunks_mut(BLOCK));
            for (block, norm) in each.zip(norms) {
                let sum = vectorized!({
                    if limit < f32::INFINITY {
                        block.iter_mut().for_each(|dw| *dw = limited(*dw, limit));
                    }
                    squares(block)
                });
                *norm = flushed(sum.sqrt() as f32);
            }
        });
    }
    Ok(())
}

pub(super) fn scale(cpu: &mut Cpu, segments: &[Segment], factor: Slot, dw: Slot) -> Result<()> {
    let ([factor, dw], pool) = cpu.floats_with_pool([factor, dw]);
    let factor = factor[0];
    for segment in segments {
        let dw = &mut dw[segment.start..segment.start + segment.len];
        pool.chunks(dw, RUN, |_, dw| {
            vectorized!(dw.iter_mut().for_each(|dw| *dw = flushed(factor * *dw)));
        });
    }
    Ok(())
}

/// NaN stays NaN.
#[inline(always)]
fn limited(dw: f32, limit: f32) -> f32 {
    let dw = if dw > limit { limit } else { dw };
    if dw < -limit { -limit } else { dw }
}

/// A sum of squares in f64, in eight partial sums so that it is vectorized; their order is fixed.
#[inline(always)]
pub fn squares(values: &[f32]) -> f64 {
    let mut strands = [0.0f64; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (strand, &value) in strands.iter_mut().zip(eight) {
            *strand += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    strands.iter().sum::<f64>() + rest
}
