//! On the CPU: row by row; a row stays in the cache while it is read again.
//!
//! Memory bound: forward reads x and writes y, backward reads x and dy and writes dx.

use super::{Backward, Geometry};
use crate::per_channel::sums;
use crate::simd::{CHUNK, flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// Partial sums of a row, so that they form vectors; their order is fixed.
const LANES: usize = 16;

/// `slots` are x, scale, shift and y.
pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let ([x, scale, shift, y], pool) = cpu.floats_with_pool(slots);
    let (x, scale, shift) = (&*x, &*scale, &*shift);
    let (channels, epsilon) = (g.channels, g.epsilon);
    let run = CHUNK.div_ceil(channels) * channels;
    pool.chunks(y, run, |idx, y| {
        let x = &x[idx * run..][..y.len()];
        vectorized!({
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let [mean, inverse] = statistics(x, epsilon);
                for (((y, &x), &scale), &shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                    *y = flushed((x - mean) * inverse * scale + shift);
                }
            }
        });
    });
    Ok(())
}

pub(super) fn backward(cpu: &mut Cpu, g: &Geometry, b: &Backward, scratch: Slot) -> Result<()> {
    let [rows, partials] = g.parts(scratch);
    let (channels, epsilon) = (g.channels, g.epsilon);
    let run = CHUNK.div_ceil(channels) * channels;
    let ([x, rows], pool) = cpu.floats_with_pool([b.x, rows]);
    let x = &*x;
    pool.chunks(rows, 2 * (run / channels), |idx, rows| {
        let x = &x[idx * run..][..rows.len() / 2 * channels];
        vectorized!({
            for (row, x) in rows.chunks_exact_mut(2).zip(x.chunks_exact(channels)) {
                row.copy_from_slice(&statistics(x, epsilon));
            }
        });
    });
    let [rows, ..] = g.parts(scratch);
    let slots = [b.x, b.dy, rows, partials, b.d_scale, b.d_shift];
    let ([x, dy, rows, partials, d_scale, d_shift], pool) = cpu.floats_with_pool(slots);
    let rows = &*rows;
    sums(
        pool,
        channels,
        [x, dy],
        partials,
        #[inline(always)]
        |row, x, dy| {
            let h = (x - rows[2 * row]) * rows[2 * row + 1];
            [f64::from(h) * f64::from(dy), f64::from(dy)]
        },
        |channel, [scale, shift]| {
            d_scale[channel] = flushed(scale as f32);
            d_shift[channel] = flushed(shift as f32);
        },
    );
    let Some(dx) = b.dx else { return Ok(()) };
    let [rows, _] = g.parts(scratch);
    let ([x, dy, rows, scale, dx], pool) = cpu.floats_with_pool([b.x, b.dy, rows, b.scale, dx]);
    let (x, dy, rows, scale) = (&*x, &*dy, &*rows, &*scale);
    pool.chunks(dx, run, |idx, dx| {
        let (x, dy) = (&x[idx * run..][..dx.len()], &dy[idx * run..][..dx.len()]);
        let first = idx * run / channels;
        vectorized!({
            let matrices = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
            let matrices = matrices.zip(rows[2 * first..].chunks_exact(2));
            for (dx, ((x, dy), row)) in dx.chunks_exact_mut(channels).zip(matrices) {
                let (mean, inverse) = (row[0], row[1]);
                for ((dx, &dy), &scale) in dx.iter_mut().zip(dy).zip(scale) {
                    *dx = dy * scale;
                }
                let [sum, product] = row_sums(dx, x, |dh, x| {
                    let h = (x - mean) * inverse;
                    [f64::from(dh), f64::from(dh) * f64::from(h)]
                });
                let n = channels as f64;
                let (constant, slope) = ((sum / n) as f32, (product / n) as f32);
                for (dx, &x) in dx.iter_mut().zip(x) {
                    let h = (x - mean) * inverse;
                    *dx = flushed((*dx - constant - h * slope) * inverse);
                }
            }
        });
    });
    Ok(())
}

/// A row's mean and inverse deviation.
#[inline(always)]
fn statistics(x: &[f32], epsilon: f32) -> [f32; 2] {
    let n = x.len() as f64;
    let [sum, squares] = row_sums(x, x, |x, _| [f64::from(x), f64::from(x) * f64::from(x)]);
    let mean = sum / n;
    let variance = squares / n - mean * mean;
    let variance = if variance < 0.0 { 0.0 } else { variance };
    [mean as f32, (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32]
}

/// The two sums of `terms(a, b)` over a row.
#[inline(always)]
fn row_sums(a: &[f32], b: &[f32], terms: impl Fn(f32, f32) -> [f64; 2]) -> [f64; 2] {
    let mut sums = [[0.0; LANES]; 2];
    let ((a_runs, a_rest), (b_runs, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_runs.iter().zip(b_runs) {
        for lane in 0..LANES {
            let [first, second] = terms(a[lane], b[lane]);
            sums[0][lane] += first;
            sums[1][lane] += second;
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        let [first, second] = terms(a, b);
        sums[0][lane] += first;
        sums[1][lane] += second;
    }
    sums.map(|lanes| lanes.iter().sum())
}
