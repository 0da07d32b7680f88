//! Sums over all rows of each channel: for the gradients of slopes, scales and shifts, and for the
//! statistics of a batch.
//!
//! A matrix has one row per pixel of all images, and one column per channel. Its rows are split
//! into blocks; the split depends on the number of rows only. A block is summed in f64, first row
//! to last, and the sum stored as two floats that together hold 48 bits. Then the blocks are added
//! in their order. So results are bit-identical for any number of threads. On a GPU
//! (cuh/per_channel.cuh) eight threads share a block, each summing every eighth row.

use crate::simd::{flushed, vectorized};
use tensor::{Grid, Pool};

/// Channels whose sums are kept in registers at once.
const STRIP: usize = 16;

/// Rows per block: few enough that every thread gets a block, many enough that there are few
/// block sums to add.
pub(crate) fn block_rows(rows: usize) -> usize {
    rows.div_ceil(256).max(64)
}

/// Blocks of a matrix of so many rows.
pub(crate) fn blocks(rows: usize) -> usize {
    rows.div_ceil(block_rows(rows))
}

/// A GPU's blocks for partial sums: strips of 32 channels by blocks of rows.
pub(crate) fn grid(rows: usize, channels: usize) -> Grid {
    let blocks = Grid::of(channels.div_ceil(32), Grid::THREADS);
    Grid { blocks: [blocks.blocks[0], self::blocks(rows) as u32, 1], ..blocks }
}

/// Floats of scratch memory for `sums` sums per channel.
pub(crate) fn scratch(sums: usize, rows: usize, channels: usize) -> usize {
    2 * sums * channels * blocks(rows)
}

/// Sums `terms(row, a, b)` over the rows of `a` and `b`, and passes each channel's sums to
/// `finish`. `a` and `b` may be the same matrix.
pub(crate) fn sums<const K: usize>(
    pool: &Pool,
    channels: usize,
    [a, b]: [&[f32]; 2],
    partials: &mut [f32],
    terms: impl Fn(usize, f32, f32) -> [f64; K] + Sync + Send,
    mut finish: impl FnMut(usize, [f64; K]),
) {
    let rows = a.len() / channels;
    let (block_rows, blocks) = (block_rows(rows), blocks(rows));
    let partials = &mut partials[..scratch(K, rows, channels)];
    pool.chunks(partials, 2 * K * channels, |block, partials| {
        let rows = block * block_rows..rows.min((block + 1) * block_rows);
        vectorized!({
            for first in (0..channels).step_by(STRIP) {
                let width = STRIP.min(channels - first);
                let mut sums = [[0.0; STRIP]; K];
                for row in rows.clone() {
                    let at = row * channels + first;
                    let (a, b) = (&a[at..at + width], &b[at..at + width]);
                    match (a.first_chunk::<STRIP>(), b.first_chunk::<STRIP>()) {
                        (Some(a), Some(b)) => add(&mut sums, row, a, b, &terms),
                        _ => add(&mut sums, row, a, b, &terms),
                    }
                }
                for (sum, planes) in sums.iter().zip(partials.chunks_exact_mut(2 * channels)) {
                    let (high, low) = planes.split_at_mut(channels);
                    let high = &mut high[first..first + width];
                    let low = &mut low[first..first + width];
                    for ((&sum, high), low) in sum.iter().zip(high).zip(low) {
                        *high = sum as f32;
                        *low = (sum - f64::from(*high)) as f32;
                    }
                }
            }
        });
    });
    for first in (0..channels).step_by(STRIP) {
        let width = STRIP.min(channels - first);
        let mut totals = [[0.0; STRIP]; K];
        for block in 0..blocks {
            for (k, totals) in totals.iter_mut().enumerate() {
                let plane = |half| &partials[((block * K + k) * 2 + half) * channels + first..];
                let halves = plane(0)[..width].iter().zip(plane(1));
                for (total, (high, low)) in totals.iter_mut().zip(halves) {
                    *total += f64::from(*high) + f64::from(*low);
                }
            }
        }
        (0..width).for_each(|lane| finish(first + lane, totals.map(|totals| totals[lane])));
    }
}

/// The most columns that [`sum_columns`] adds up at once; and half of them, as some layers have.
pub(crate) const RUN: usize = 64;
const HALF: usize = RUN / 2;

/// Sums neighbouring columns, [`RUN`] at most, of a matrix of `width` columns, starting with column
/// `first`: in f64, from the first row to the last.
pub(crate) fn sum_columns(rows: &[f32], width: usize, first: usize, sums: &mut [f32]) {
    let rows = || rows.chunks_exact(width).map(|row| &row[first..]);
    vectorized!(match sums.len() {
        RUN => sum_fixed::<RUN>(rows(), sums),
        HALF => sum_fixed::<HALF>(rows(), sums),
        _ => {
            let mut exact = [0.0f64; RUN];
            for row in rows() {
                add_run(&mut exact, &row[..sums.len()]);
            }
            sums.iter_mut().zip(exact).for_each(|(sum, exact)| *sum = flushed(exact as f32));
        }
    });
}

/// [`sum_columns`] for a number of columns known at compile time: the sums stay in registers.
#[inline(always)]
fn sum_fixed<'a, const N: usize>(rows: impl Iterator<Item = &'a [f32]>, sums: &mut [f32]) {
    let mut exact = [0.0f64; N];
    for row in rows {
        add_run(&mut exact, row.first_chunk::<N>().expect("a whole row"));
    }
    sums.iter_mut().zip(exact).for_each(|(sum, exact)| *sum = flushed(exact as f32));
}

#[inline(always)]
fn add_run(sums: &mut [f64], run: &[f32]) {
    sums.iter_mut().zip(run).for_each(|(sum, &value)| *sum += f64::from(value));
}

#[inline(always)]
fn add<const K: usize>(
    sums: &mut [[f64; STRIP]; K],
    row: usize,
    a: &[f32],
    b: &[f32],
    terms: &impl Fn(usize, f32, f32) -> [f64; K],
) {
    for (lane, (&a, &b)) in a.iter().zip(b).enumerate() {
        let terms = terms(row, a, b);
        for (sum, term) in sums.iter_mut().zip(terms) {
            sum[lane] += term;
        }
    }
}
