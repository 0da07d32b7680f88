//! On the CPU: sixteen pixels at a time, 48 elements, so that three channels fill whole vectors.
//!
//! Memory bound: one byte per element is read and four, or two in bf16, are written.

use super::{CHANNELS, Geometry, Mean, TINTS};
use crate::simd::{flushed, vectorized};
use crate::value::Value;
use tensor::{Bf16, Cpu, DType, Result, Slot};

/// Elements of sixteen pixels.
const STRIP: usize = 16 * CHANNELS;

pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    match slots[4].dtype() {
        DType::Bf16 => forward_into::<Bf16>(cpu, g, slots),
        _ => forward_into::<f32>(cpu, g, slots),
    }
    Ok(())
}

fn forward_into<X: Value>(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 5]) {
    let ([pixels, views, tints, mean, x], pool) = cpu.lend_with_pool(slots);
    let (pixels, views): (&mut [u8], &mut [u32]) = (pixels.into(), views.into());
    let (tints, mean): (&mut [f32], &mut [f32]) = (tints.into(), mean.into());
    let x: &mut [X] = x.into();
    let (pixels, views, tints, mean) = (&*pixels, &*views, &*tints, &*mean);
    let row = g.width * CHANNELS;
    pool.chunks(x, g.height * row, |n, x| {
        let &[top, left, mirror] = &views[3 * n..3 * n + 3] else { unreachable!("three words") };
        let (top, left) = (top as usize, left as usize);
        if let Mean::Image { height, width } = g.mean {
            let inside = top + g.height <= height && left + g.width <= width;
            assert!(inside, "a crop at {top}, {left} of a mean image of {height} x {width}");
        }
        let pixels = &pixels[n * g.height * row..][..g.height * row];
        let tint = &tints[TINTS * n..TINTS * (n + 1)];
        vectorized!({
            for (i, (pixels, x)) in
                pixels.chunks_exact(row).zip(x.chunks_exact_mut(row)).enumerate()
            {
                let mean = match g.mean {
                    Mean::Image { width, .. } => {
                        &mean[((top + i) * width + left) * CHANNELS..][..row]
                    }
                    Mean::Color => mean,
                };
                one_row(pixels, mean, tint, mirror != 0, x);
            }
        });
    });
}

/// A row of a crop; `mean` is a row, or one colour.
#[inline(always)]
fn one_row<X: Value>(pixels: &[u8], mean: &[f32], tint: &[f32], mirror: bool, x: &mut [X]) {
    let gain: [f32; STRIP] = std::array::from_fn(|k| tint[k % CHANNELS]);
    let shift: [f32; STRIP] = std::array::from_fn(|k| tint[CHANNELS + k % CHANNELS]);
    let color: [f32; STRIP] = std::array::from_fn(|k| mean[k % CHANNELS]);
    let flat = mean.len() == CHANNELS;
    let end = pixels.len();
    for (idx, x) in x.chunks_mut(STRIP).enumerate() {
        let (at, len) = (idx * STRIP, x.len());
        // The strip's position in the row; in a mirrored one it is counted from the end.
        let from = if mirror { end - at - len } else { at };
        let mut bytes = [0u8; STRIP];
        let mut means = color;
        bytes[..len].copy_from_slice(&pixels[from..from + len]);
        if !flat {
            means[..len].copy_from_slice(&mean[from..from + len]);
        }
        if mirror {
            reverse_pixels(&mut bytes[..len]);
            reverse_pixels(&mut means[..len]);
        }
        for k in 0..len {
            x[k] = X::rounded(flushed((f32::from(bytes[k]) - means[k]) * gain[k] + shift[k]));
        }
    }
}

/// Reverses the order of pixels, but not that of their channels.
#[inline(always)]
fn reverse_pixels<T: Copy>(elements: &mut [T]) {
    elements.reverse();
    elements.chunks_exact_mut(CHANNELS).for_each(|pixel| pixel.swap(0, CHANNELS - 1));
}
