//! The source pixels and weights of resized pixels.

use std::ops::Range;

/// Weights are multiples of 2^-22, so that 255 times their sum fits in 32 bits.
const FRACTION_BITS: u32 = 22;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// The number of bytes of a row computed at a time, so that their sums stay in registers.
const BLOCK: usize = 32;

/// For each wanted pixel along one axis, its source pixels and their weights.
///
/// All pixels have the same number `count` of taps, the maximum; unused ones have weight zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Taps {
    count: usize,
    firsts: Vec<usize>,
    weights: Vec<i32>,
    exact: Vec<f64>,
}

/// The shrinking factor of an axis, and the filter's radius, in source pixels.
fn scales(from: usize, to: usize) -> (f64, f64) {
    let scale = from as f64 / to as f64;
    (scale, scale.max(1.0)) // for enlarging, the radius stays one pixel
}

/// The source pixels with nonzero weight in a wanted pixel.
fn span(from: usize, to: usize, wanted: usize) -> Range<usize> {
    let (scale, stretch) = scales(from, to);
    let centre = (wanted as f64 + 0.5) * scale;
    let first = ((centre - stretch + 0.5) as usize).min(from - 1); // `as` saturates at zero
    first..((centre + stretch + 0.5) as usize).clamp(first + 1, from)
}

/// The source pixels with nonzero weight in any of the wanted pixels `start..start + count`;
/// `count` must not be zero.
pub(super) fn reach(from: usize, to: usize, start: usize, count: usize) -> Range<usize> {
    span(from, to, start).start..span(from, to, start + count - 1).end
}

impl Taps {
    /// Computes the taps of wanted pixels `start..start + count` of `to`, from `from` pixels.
    pub(super) fn fill(&mut self, from: usize, to: usize, start: usize, count: usize) {
        let (scale, stretch) = scales(from, to);
        let span = |wanted: usize| {
            let span = span(from, to, wanted);
            ((wanted as f64 + 0.5) * scale, span.start, span.end)
        };
        let wanted = start..start + count;
        let counts = wanted.clone().map(&span).map(|(_, first, end)| end - first);
        self.count = counts.max().unwrap_or(1);
        self.firsts.clear();
        self.weights.clear();
        for (centre, first, end) in wanted.map(span) {
            self.exact.clear();
            self.exact.extend((first..end).map(|pixel| {
                let distance = ((pixel as f64 - centre + 0.5) * (1.0 / stretch)).abs();
                (1.0 - distance).max(0.0)
            }));
            let sum: f64 = self.exact.iter().sum();
            let one = f64::from(1u32 << FRACTION_BITS);
            let share = 1.0 / sum;
            // At the far edge, unused taps come first, so that none is outside.
            let shifted = first.min(from - self.count);
            self.firsts.push(shifted);
            self.weights.extend(std::iter::repeat_n(0, first - shifted));
            self.weights.extend(self.exact.iter().map(|w| (w * share * one + 0.5) as i32));
            self.weights.resize(self.firsts.len() * self.count, 0);
        }
    }

    /// The range of source pixels that any wanted pixel needs, as first and end.
    pub(super) fn reach(&self) -> (usize, usize) {
        let first = self.firsts.iter().min().copied().unwrap_or(0);
        (first, self.firsts.iter().max().map_or(first, |last| last + self.count))
    }

    /// Resizes a row to the wanted columns; `row` and `to` have one more byte.
    #[inline(always)]
    pub(super) fn narrow(&self, row: &[u8], to: &mut [u8]) {
        match self.count {
            1 => self.narrow_by::<1>(row, to),
            2 => self.narrow_by::<2>(row, to),
            3 => self.narrow_by::<3>(row, to),
            4 => self.narrow_by::<4>(row, to),
            5 => self.narrow_by::<5>(row, to),
            6 => self.narrow_by::<6>(row, to),
            7 => self.narrow_by::<7>(row, to),
            8 => self.narrow_by::<8>(row, to),
            _ => self.narrow_by_many(row, to),
        }
    }

    /// As [`narrow`](Self::narrow), for a number of taps known at compile time.
    #[inline(always)]
    fn narrow_by<const N: usize>(&self, row: &[u8], to: &mut [u8]) {
        let taps = self.firsts.iter().zip(self.weights.as_chunks::<N>().0);
        for (x, (&first, weights)) in taps.enumerate() {
            let source = &row[first * 3..][..N * 3 + 1];
            let mut sums = [HALF; 4];
            for (tap, &weight) in weights.iter().enumerate() {
                add(&mut sums, weight, &source[tap * 3..tap * 3 + 4]);
            }
            to[x * 3..][..4].copy_from_slice(&sums.map(to_byte));
        }
    }

    #[inline(always)]
    fn narrow_by_many(&self, row: &[u8], to: &mut [u8]) {
        let taps = self.firsts.iter().zip(self.weights.chunks_exact(self.count));
        for (x, (&first, weights)) in taps.enumerate() {
            let source = &row[first * 3..][..self.count * 3 + 1];
            let mut sums = [HALF; 4];
            for (tap, &weight) in weights.iter().enumerate() {
                add(&mut sums, weight, &source[tap * 3..tap * 3 + 4]);
            }
            to[x * 3..][..4].copy_from_slice(&sums.map(to_byte));
        }
    }

    /// Computes row `y` of the result from rows that start with the source row `offset`.
    #[inline(always)]
    pub(super) fn blend(&self, y: usize, offset: usize, rows: &[u8], to: &mut [u8]) {
        let weights = &self.weights[y * self.count..][..self.count];
        let width = to.len();
        let rows = &rows[(self.firsts[y] - offset) * width..][..self.count * width];
        let mut start = 0;
        while start + BLOCK <= width {
            blend_block(weights, rows, width, start, to);
            // The last block overlaps the previous one.
            start = if start + BLOCK < width { (start + BLOCK).min(width - BLOCK) } else { width };
        }
        if width < BLOCK {
            for (column, byte) in to.iter_mut().enumerate() {
                let source = rows.iter().skip(column).step_by(width);
                let products = source.zip(weights).map(|(&byte, &weight)| weight * i32::from(byte));
                *byte = to_byte(HALF + products.sum::<i32>());
            }
        }
    }
}

#[inline(always)]
fn blend_block(weights: &[i32], rows: &[u8], width: usize, start: usize, to: &mut [u8]) {
    let mut sums = [HALF; BLOCK];
    for (row, &weight) in rows.chunks_exact(width).zip(weights) {
        let source: &[u8; BLOCK] = row[start..start + BLOCK].try_into().expect("a block");
        for (sum, &byte) in sums.iter_mut().zip(source) {
            *sum += weight * i32::from(byte);
        }
    }
    for (byte, &sum) in to[start..start + BLOCK].iter_mut().zip(&sums) {
        *byte = to_byte(sum);
    }
}

/// Adds a weighted pixel and the byte after it, which is ignored: four bytes are as fast as three.
#[inline(always)]
fn add(sums: &mut [i32; 4], weight: i32, source: &[u8]) {
    let source: &[u8; 4] = source.try_into().expect("four bytes");
    for (sum, &byte) in sums.iter_mut().zip(source) {
        *sum += weight * i32::from(byte);
    }
}

/// Weights and sums are nonnegative; rounded weights may sum to slightly more than one.
#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).min(255) as u8
}
