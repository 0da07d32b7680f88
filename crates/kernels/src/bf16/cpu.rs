//! On the CPU: chunks of elements; halves of a float by shifts.
//!
//! Memory bound: four bytes per element on one side and two on the other.

use crate::simd::{CHUNK, flushed, vectorized};
use tensor::{Cpu, Result, Slot};

const HIGH: u32 = 0xFFFF_0000;

/// The bits of `r(x)`; the lower half is zero.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    // Add half a unit, less one bit if the result would be odd; a carry goes into the exponent.
    let nearest = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) & HIGH;
    let quiet = bits & HIGH | 0x40_0000; // rounding could turn a NaN into infinity
    if x.is_nan() { quiet } else { nearest }
}

#[inline(always)]
fn round(x: f32) -> f32 {
    f32::from_bits(rounded(x))
}

pub(super) fn pack(cpu: &mut Cpu, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let x = &*x;
    pool.chunks(y, CHUNK, |idx, y| {
        let from = 2 * idx * CHUNK;
        let x = &x[from..x.len().min(from + 2 * y.len())];
        vectorized!({
            let (pairs, last) = x.as_chunks::<2>();
            for (y, [a, b]) in y.iter_mut().zip(pairs) {
                *y = f32::from_bits(rounded(*a) >> 16 | rounded(*b));
            }
            for (y, a) in y[pairs.len()..].iter_mut().zip(last) {
                *y = f32::from_bits(rounded(*a) >> 16);
            }
        });
    });
    Ok(())
}

pub(super) fn add_packed(cpu: &mut Cpu, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let x = &*x;
    pool.chunks(y, 2 * CHUNK, |idx, y| {
        let x = &x[idx * CHUNK..];
        vectorized!({
            let (pairs, last) = y.as_chunks_mut::<2>();
            for ([a, b], x) in pairs.iter_mut().zip(x) {
                let word = x.to_bits();
                *a = flushed(f32::from_bits(word << 16) + round(*a));
                *b = flushed(f32::from_bits(word & HIGH) + round(*b));
            }
            for (a, x) in last.iter_mut().zip(&x[pairs.len()..]) {
                *a = flushed(f32::from_bits(x.to_bits() << 16) + round(*a));
            }
        });
    });
    Ok(())
}

pub(super) fn add_rounded(cpu: &mut Cpu, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let x = &*x;
    pool.chunks(y, CHUNK, |idx, y| {
        let x = &x[idx * CHUNK..];
        vectorized!(y.iter_mut().zip(x).for_each(|(y, x)| *y = flushed(round(*x) + round(*y))));
    });
    Ok(())
}
