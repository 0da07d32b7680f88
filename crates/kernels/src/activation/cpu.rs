//! On the CPU: vectors over any run of elements.

use super::Activation;
use crate::simd::{CHUNK, exp, exp_m1, vectorized};
use tensor::{Cpu, Pool, Result, Slot};

pub(super) fn forward(cpu: &mut Cpu, kind: Activation, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    match kind {
        Activation::Relu => map(pool, x, y, relu),
        Activation::Tanh { outer, inner } => map(pool, x, y, |x| outer * tanh(inner * x)),
        Activation::Logistic => map(pool, x, y, |x| 1.0 / (1.0 + exp(-x))),
    }
    Ok(())
}

pub(super) fn backward(cpu: &mut Cpu, kind: Activation, y: Slot, dy: Slot, dx: Slot) -> Result<()> {
    let ([y, dy, dx], pool) = cpu.floats_with_pool([y, dy, dx]);
    match kind {
        Activation::Relu => map2(pool, y, dy, dx, masked),
        Activation::Tanh { outer, inner } => {
            map2(pool, y, dy, dx, |y, dy| dy * (inner * (outer - y * y / outer)));
        }
        Activation::Logistic => map2(pool, y, dy, dx, |y, dy| dy * (y * (1.0 - y))),
    }
    Ok(())
}

pub(super) fn mask_by_relu(cpu: &mut Cpu, y: Slot, dy: Slot) -> Result<()> {
    let ([y, dy], pool) = cpu.floats_with_pool([y, dy]);
    let y = &*y;
    pool.chunks(dy, CHUNK, |index, dy| {
        let y = &y[index * CHUNK..][..dy.len()];
        vectorized(
            #[inline(always)]
            || {
                for (dy, &y) in dy.iter_mut().zip(y) {
                    *dy = masked(y, *dy);
                }
            },
        );
    });
    Ok(())
}

/// Written with <= so that NaN stays.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn masked(y: f32, dy: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { dy }
}

/// Within 5 units in the last place: (e^2u - 1) / (e^2u + 1), on the positive side, where nothing
/// cancels.
#[inline(always)]
fn tanh(u: f32) -> f32 {
    let double = 2.0 * u.abs();
    // From here on the quotient below is 1 to the last bit.
    let double = if double > 20.0 { 20.0 } else { double };
    let e = exp_m1(double);
    (e / (e + 2.0)).copysign(u)
}

fn map(pool: &Pool, x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Send) {
    pool.chunks(y, CHUNK, |index, y| {
        let x = &x[index * CHUNK..][..y.len()];
        vectorized(
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f(x);
                }
            },
        );
    });
}

fn map2(
    pool: &Pool,
    a: &[f32],
    b: &[f32],
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync + Send,
) {
    pool.chunks(y, CHUNK, |index, y| {
        let a = &a[index * CHUNK..][..y.len()];
        let b = &b[index * CHUNK..][..y.len()];
        vectorized(
            #[inline(always)]
            || {
                for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                    *y = f(a, b);
                }
            },
        );
    });
}
