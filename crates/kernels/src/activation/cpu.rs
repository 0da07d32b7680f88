//! On the CPU: vectorized loops over chunks of elements.
//!
//! The floor is memory: forward reads x and writes y, backward reads one of them and dy and writes
//! dx.

use super::Activation;
use crate::simd::{CHUNK, exp, exp_m1, flushed, vectorized};
use std::f32::consts::FRAC_1_SQRT_2;
use tensor::{Cpu, Pool, Result, Slot};

pub(super) fn forward(cpu: &mut Cpu, kind: Activation, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    match kind {
        Activation::Relu => map(pool, x, y, relu),
        Activation::Tanh { outer, inner } => map(pool, x, y, |x| outer * tanh(inner * x)),
        Activation::Logistic => map(pool, x, y, |x| 1.0 / (1.0 + exp(-x))),
        Activation::LeakyRelu { slope } => {
            map(pool, x, y, |x| if x <= 0.0 { slope * x } else { x })
        }
        Activation::Gelu => map(pool, x, y, gelu),
    }
    Ok(())
}

/// `slots` are the saved slot, which holds x for `Gelu`, dy and dx.
pub(super) fn backward(cpu: &mut Cpu, kind: Activation, slots: [Slot; 3]) -> Result<()> {
    let ([y, dy, dx], pool) = cpu.floats_with_pool(slots);
    match kind {
        Activation::Relu => map2(pool, y, dy, dx, masked),
        Activation::Tanh { outer, inner } => {
            map2(pool, y, dy, dx, |y, dy| dy * (inner * (outer - y * y / outer)));
        }
        Activation::Logistic => map2(pool, y, dy, dx, |y, dy| dy * (y * (1.0 - y))),
        Activation::LeakyRelu { slope } => {
            map2(pool, y, dy, dx, |y, dy| if y <= 0.0 { slope * dy } else { dy });
        }
        Activation::Gelu => map2(pool, y, dy, dx, |x, dy| dy * gelu_slope(x)),
    }
    Ok(())
}

pub(super) fn mask_by_relu(cpu: &mut Cpu, y: Slot, dy: Slot) -> Result<()> {
    let ([y, dy], pool) = cpu.floats_with_pool([y, dy]);
    let y = &*y;
    pool.chunks(dy, CHUNK, |index, dy| {
        let y = &y[index * CHUNK..][..dy.len()];
        vectorized!({
            for (dy, &y) in dy.iter_mut().zip(y) {
                *dy = flushed(masked(y, *dy));
            }
        });
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

/// Within 5 units in the last place: (e^2u - 1) / (e^2u + 1) of |u|, where nothing cancels.
#[inline(always)]
fn tanh(u: f32) -> f32 {
    let double = 2.0 * u.abs();
    // From here on the quotient is 1 to the last bit.
    let double = if double > 20.0 { 20.0 } else { double };
    let e = exp_m1(double);
    (e / (e + 2.0)).copysign(u)
}

/// x F(x), within 3e-7 of the larger of |y| and 1, everywhere.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    // Below this the product is denormal.
    let x = if x < -13.0 { -13.0 } else { x };
    x * normal(x).0
}

/// F(x) + x f(x).
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let x = if x < -13.0 { -13.0 } else { x };
    let x = if x > 13.0 { 13.0 } else { x };
    let (cumulative, power) = normal(x);
    // 1 / sqrt(2 pi)
    cumulative + x * (0.398_942_3 * power)
}

/// F(x), and e^(-x^2 / 2), for x in [-13, 13]. Above 13, F is 1.
///
/// erfc z = e^(-z^2) t P(t) with t = 1 / (1 + 0.3 z). P interpolates the other factors at Chebyshev
/// points of z in [0, 9.2]; the result is within 4e-8 of erfc z, relative.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    const P: [f32; 9] = [
        -0.130_252_21,
        0.489_365_52,
        -0.520_736_7,
        0.558_183_55,
        -0.102_504_805,
        0.218_580_78,
        0.147_311_8,
        0.170_874_45,
        0.169_177_6,
    ];
    let power = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.3 * (x.abs() * FRAC_1_SQRT_2));
    let mut series = P[0];
    for coefficient in &P[1..] {
        series = series * t + coefficient;
    }
    let tail = 0.5 * (power * (t * series));
    (if x < 0.0 { tail } else { 1.0 - tail }, power)
}

fn map(pool: &Pool, x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Send) {
    pool.chunks(y, CHUNK, |index, y| {
        let x = &x[index * CHUNK..][..y.len()];
        vectorized!({
            for (y, &x) in y.iter_mut().zip(x) {
                *y = flushed(f(x));
            }
        });
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
        vectorized!({
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = flushed(f(a, b));
            }
        });
    });
}
