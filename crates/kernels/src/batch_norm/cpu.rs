//! On the CPU: sums per channel, then one pass over the rows.
//!
//! The floor is memory: forward reads x twice and writes y, backward reads x and dy twice and
//! writes dx.

use super::{Backward, ForwardBatch, Geometry, Vectors};
use crate::per_channel::sums;
use crate::simd::{CHUNK, flushed, vectorized};
use tensor::{Cpu, Pool, Result, Slot};

pub(super) fn forward(
    cpu: &mut Cpu,
    g: &Geometry,
    x: Slot,
    v: Vectors,
    y: Slot,
    scratch: Slot,
) -> Result<()> {
    let [coefficients, _] = g.parts(scratch);
    let slots = [x, v.scale, v.shift, v.mean, v.variance, coefficients, y];
    let ([x, scale, shift, mean, variance, coefficients, y], pool) = cpu.floats_with_pool(slots);
    let factor = &mut coefficients[..g.channels];
    for ((factor, &scale), &variance) in factor.iter_mut().zip(&*scale).zip(&*variance) {
        *factor = scale / (variance + g.epsilon).sqrt();
    }
    apply(pool, x, [mean, factor, shift], y);
    Ok(())
}

pub(super) fn forward_batch(
    cpu: &mut Cpu,
    g: &Geometry,
    &ForwardBatch { batch, x, vectors: v, y }: &ForwardBatch,
    scratch: Slot,
) -> Result<()> {
    let (rows, _) = counted(cpu, g, batch);
    let [coefficients, partials] = g.parts(scratch);
    let slots = [x, v.scale, v.shift, v.mean, v.variance, coefficients, partials, y];
    let ([x, scale, shift, mean, variance, coefficients, partials, y], pool) =
        cpu.floats_with_pool(slots);
    let factor = &mut coefficients[..g.channels];
    let n = rows.max(1) as f64;
    let own = &x[..rows * g.channels];
    sums(
        pool,
        g.channels,
        [own, own],
        partials,
        #[inline(always)]
        |_, x, _| [f64::from(x), f64::from(x) * f64::from(x)],
        |c, [sum, squares]| {
            let exact = sum / n;
            mean[c] = flushed(exact as f32);
            variance[c] = flushed((squares / n - exact * exact).max(0.0) as f32);
            let deviation = (variance[c] + g.epsilon).sqrt();
            factor[c] = if rows == 0 { 0.0 } else { scale[c] / deviation };
        },
    );
    apply(pool, x, [mean, factor, shift], y);
    Ok(())
}

/// y = (x - mean) factor + shift.
fn apply(pool: &Pool, x: &[f32], [mean, factor, shift]: [&[f32]; 3], y: &mut [f32]) {
    let channels = mean.len();
    let run = CHUNK.div_ceil(channels) * channels;
    pool.chunks(y, run, |idx, y| {
        let x = &x[idx * run..][..y.len()];
        vectorized!({
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let vectors = mean.iter().zip(factor).zip(shift);
                for ((y, &x), ((mean, factor), shift)) in y.iter_mut().zip(x).zip(vectors) {
                    *y = flushed((x - mean) * factor + shift);
                }
            }
        });
    });
}

/// The number of rows that count, and their share of the batch.
fn counted(cpu: &Cpu, g: &Geometry, batch: Slot) -> (usize, f32) {
    let words = cpu.slice::<u32>(batch);
    ((words[0] as usize).min(g.images) * g.pixels, f32::from_bits(words[1]))
}

pub(super) fn backward(cpu: &mut Cpu, g: &Geometry, b: &Backward, scratch: Slot) -> Result<()> {
    let (rows, share) = counted(cpu, g, b.batch);
    let [coefficients, partials] = g.parts(scratch);
    let v = b.vectors;
    let [d_scale, d_shift, mean, variance] = b.gradients.all();
    let (slices, pool) = cpu.floats_with_pool([
        b.x,
        b.dy,
        v.scale,
        v.mean,
        v.variance,
        d_scale,
        d_shift,
        mean,
        variance,
        coefficients,
        partials,
    ]);
    let [x, dy, scale, running_mean, running_variance, rest @ ..] = slices;
    let [d_scale, d_shift, mean, variance, coefficients, partials] = rest;
    let [factors, slopes, constants, means] = quarters(coefficients, g.channels);
    let n = rows.max(1) as f64;
    let step = share * b.momentum;
    let unbiased = (n / (n - 1.0).max(1.0)) as f32;
    let own = rows * g.channels;
    sums(
        pool,
        g.channels,
        [&x[..own], &dy[..own]],
        partials,
        #[inline(always)]
        |_, x, dy| [f64::from(dy), f64::from(x) * f64::from(dy)],
        |c, [sum, product]| {
            let deviation = f64::from(variance[c] + g.epsilon).sqrt();
            let inverse = if rows == 0 { 0.0 } else { 1.0 / deviation };
            let (m, factor) = (f64::from(mean[c]), f64::from(scale[c]) * inverse);
            let product = (product - m * sum) * inverse;
            (d_scale[c], d_shift[c]) = (flushed(product as f32), flushed(sum as f32));
            factors[c] = factor as f32;
            slopes[c] = (-factor * inverse * product / n) as f32;
            constants[c] = (-factor * sum / n) as f32;
            means[c] = mean[c];
            // Now the gradients of the running statistics replace the batch's statistics.
            mean[c] = flushed(step * (running_mean[c] - mean[c]));
            variance[c] = flushed(step * (running_variance[c] - variance[c] * unbiased));
        },
    );
    let Some(dx) = b.dx else { return Ok(()) };
    let [coefficients, _] = g.parts(scratch);
    let ([x, dy, coefficients, dx], pool) = cpu.floats_with_pool([b.x, b.dy, coefficients, dx]);
    let [factors, slopes, constants, means] = quarters(coefficients, g.channels);
    let (x, dy, channels) = (&*x, &*dy, g.channels);
    let (factors, slopes, constants, means) = (&*factors, &*slopes, &*constants, &*means);
    let run = CHUNK.div_ceil(channels) * channels;
    pool.chunks(dx, run, |idx, dx| {
        let (x, dy) = (&x[idx * run..][..dx.len()], &dy[idx * run..][..dx.len()]);
        // Rows that do not count are not part of mean and variance.
        let counting = own.saturating_sub(idx * run).min(dx.len());
        vectorized!({
            let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
            let (dx, others) = dx.split_at_mut(counting);
            for (dx, (x, dy)) in dx.chunks_exact_mut(channels).zip(rows) {
                let vectors = factors.iter().zip(slopes).zip(constants).zip(means);
                let elements = dx.iter_mut().zip(x).zip(dy);
                for (((dx, x), dy), (((factor, slope), constant), mean)) in elements.zip(vectors) {
                    *dx = flushed(factor * dy + (slope * (x - mean) + constant));
                }
            }
            let rows = dy[counting..].chunks_exact(channels);
            for (dx, dy) in others.chunks_exact_mut(channels).zip(rows) {
                for ((dx, dy), factor) in dx.iter_mut().zip(dy).zip(factors) {
                    *dx = flushed(factor * dy);
                }
            }
        });
    });
    Ok(())
}

fn quarters(coefficients: &mut [f32], channels: usize) -> [&mut [f32]; 4] {
    let mut parts = coefficients.chunks_exact_mut(channels);
    std::array::from_fn(|_| parts.next().expect("four values per channel"))
}
