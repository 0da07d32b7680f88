//! On the CPU: a few rows at a time, or chunks of elements if the ranges are whole matrices.
//!
//! Memory bound: every element is read and written once.

use super::{ColumnRange, Geometry};
use crate::simd::{CHUNK, flushed, vectorized};
use tensor::{Cpu, Result, Slot};

pub(super) fn copy(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    each_row(cpu, g, x, y, |x, y| y.copy_from_slice(x));
    Ok(())
}

pub(super) fn add(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    each_row(cpu, g, x, y, |x, y| {
        vectorized!(y.iter_mut().zip(x).for_each(|(y, x)| *y = flushed(*y + x)));
    });
    Ok(())
}

fn each_row(
    cpu: &mut Cpu,
    g: &Geometry,
    x: Slot,
    y: Slot,
    work: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    if g.rows == 0 || g.count == 0 {
        return;
    }
    let x = &*x;
    let is_all = |range: ColumnRange| range.width == g.count;
    if is_all(g.x) && is_all(g.y) {
        // The rows are adjacent: threads share the elements whatever the number of rows is.
        return pool.chunks(y, CHUNK, |idx, y| work(&x[idx * CHUNK..][..y.len()], y));
    }
    let rows = CHUNK.div_ceil(g.y.width);
    pool.chunks(y, rows * g.y.width, |idx, y| {
        let x = x[idx * rows * g.x.width..].chunks_exact(g.x.width);
        for (x, y) in x.zip(y.chunks_exact_mut(g.y.width)) {
            work(&x[g.x.first..][..g.count], &mut y[g.y.first..][..g.count]);
        }
    });
}
