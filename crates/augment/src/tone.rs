//! Changes of tones, sharpness and orientation, in place: torchvision's functions of these names on
//! tensors of bytes.

use crate::jitter::{blend, grey, weights_of};

/// Reverses the order of rows: torchvision's `vflip`.
///
/// # Panics
/// If `pixels` is not a whole number of rows.
pub fn vertical_flip(pixels: &mut [u8], width: usize) {
    let row = width * 3;
    assert!(row > 0 && pixels.len().is_multiple_of(row), "rows of {width} pixels");
    let rows = pixels.len() / row;
    let (upper, lower) = pixels.split_at_mut(rows / 2 * row);
    let lower = lower.chunks_exact_mut(row).rev();
    upper.chunks_exact_mut(row).zip(lower).for_each(|(a, b)| a.swap_with_slice(b));
}

/// Replaces every pixel by its grey level: torchvision's `rgb_to_grayscale` with three channels.
pub fn grayscale(pixels: &mut [u8]) {
    for pixel in pixels.as_chunks_mut::<3>().0 {
        *pixel = [grey(*pixel); 3];
    }
}

/// Replaces `x` by `255 - x`.
pub fn invert(pixels: &mut [u8]) {
    pixels.iter_mut().for_each(|byte| *byte = 255 - *byte);
}

/// Keeps the `bits` highest bits of every byte: 8 changes nothing, 0 is black.
pub fn posterize(pixels: &mut [u8], bits: u32) {
    let mask = (0xff00u32 >> bits.min(8)) as u8;
    pixels.iter_mut().for_each(|byte| *byte &= mask);
}

/// Inverts the bytes that are at least `threshold`.
pub fn solarize(pixels: &mut [u8], threshold: f32) {
    for byte in pixels {
        *byte = if f32::from(*byte) >= threshold { 255 - *byte } else { *byte };
    }
}

/// Stretches each channel so that its extremes become 0 and 255, rounded down.
pub fn autocontrast(pixels: &mut [u8]) {
    let pixels = pixels.as_chunks_mut::<3>().0;
    let (mut min, mut max) = ([255u8; 3], [0u8; 3]);
    for pixel in &*pixels {
        min = std::array::from_fn(|c| min[c].min(pixel[c]));
        max = std::array::from_fn(|c| max[c].max(pixel[c]));
    }
    let table = |c: usize| -> [u8; 256] {
        if max[c] <= min[c] {
            return std::array::from_fn(|byte| byte as u8);
        }
        // A number over a tensor is the number times the reciprocal in PyTorch.
        let scale = f32::from(max[c] - min[c]).recip() * 255.0;
        let low = f32::from(min[c]);
        std::array::from_fn(|byte| ((byte as f32 - low) * scale).clamp(0.0, 255.0) as u8)
    };
    by_tables(pixels, [table(0), table(1), table(2)]);
}

/// Equalizes the histogram of each channel.
pub fn equalize(pixels: &mut [u8]) {
    let pixels = pixels.as_chunks_mut::<3>().0;
    let mut counts = [[0u64; 256]; 3];
    for pixel in &*pixels {
        (0..3).for_each(|c| counts[c][usize::from(pixel[c])] += 1);
    }
    by_tables(pixels, counts.map(|counts| equalizing(&counts)));
}

/// The table of a channel with this histogram. A step is the 255th part of all pixels but those of
/// the largest value.
fn equalizing(counts: &[u64; 256]) -> [u8; 256] {
    let last = counts.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
    let step = (counts.iter().sum::<u64>() - last) / 255;
    let mut below = 0;
    std::array::from_fn(|byte| match step {
        0 => byte as u8,
        _ => {
            let level = if byte == 0 { 0 } else { (below + step / 2) / step };
            below += counts[byte];
            level.min(255) as u8
        }
    })
}

fn by_tables(pixels: &mut [[u8; 3]], tables: [[u8; 256]; 3]) {
    for pixel in pixels {
        *pixel = std::array::from_fn(|c| tables[c][usize::from(pixel[c])]);
    }
}

/// Blends an image with its smoothed copy; `factor` is the image's weight. 1 changes nothing, less
/// blurs, more sharpens. The filter is 3 x 3, all ones with 5 in the centre; the border stays, and
/// so does an image with a side below three. `copy` is memory for the original.
///
/// # Panics
/// If `pixels` is not a whole number of rows.
pub fn sharpen(pixels: &mut [u8], width: usize, factor: f64, copy: &mut Vec<u8>) {
    let row = width * 3;
    assert!(row > 0 && pixels.len().is_multiple_of(row), "rows of {width} pixels");
    let height = pixels.len() / row;
    if width < 3 || height < 3 {
        return;
    }
    copy.clear();
    copy.extend_from_slice(pixels);
    let weights = weights_of(factor);
    for y in 0..height {
        for x in 0..row {
            let at = y * row + x;
            let is_border = y == 0 || y + 1 == height || x < 3 || x + 3 >= row;
            let smooth = if is_border { copy[at] } else { smoothed(copy, at, row) };
            pixels[at] = blend(copy[at], f32::from(smooth), weights);
        }
    }
}

/// The weighted mean of nine values. A sum over 13 is never half an integer, so its rounding does
/// not depend on the order of summation.
fn smoothed(from: &[u8], at: usize, row: usize) -> u8 {
    let line = |at: usize| u32::from(from[at - 3]) + u32::from(from[at]) + u32::from(from[at + 3]);
    let sum = line(at - row) + line(at) + line(at + row) + 4 * u32::from(from[at]);
    ((2 * sum + 13) / 26) as u8
}
