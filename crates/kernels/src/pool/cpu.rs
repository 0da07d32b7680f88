//! On the CPU: a task writes a few rows, with vectors along the channels. A strip of channels stays
//! in registers during the loop over the pixels of a window, or over the windows of a pixel.
//!
//! Memory bound: forward reads x and writes y, backward reads x, y and dy (only dy for averages)
//! and writes dx.

use super::{Geometry, Reduction, Ties};
use crate::simd::{CHUNK, Strip, flushed, in_strips, vectorized};
use crate::value::{Value, by_types};
use std::ops::Range;
use tensor::{Cpu, Result, Slot};

/// Channels of one pixel per pass where a mask is needed.
const STRIP: usize = 256;

pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    by_types!(x, y, forward_of(cpu, g, x, y));
    Ok(())
}

fn forward_of<X: Value, Y: Value>(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) {
    let ([x, y], pool) = cpu.lend_with_pool([x, y]);
    let (x, y): (&mut [X], &mut [Y]) = (x.into(), y.into());
    let (x, row_len, rows) = (&*x, g.out_width() * g.channels, g.out_height());
    let in_len = g.height * g.width * g.channels;
    let rows_per_task = (CHUNK / row_len.max(1)).max(1);
    pool.chunks(y, rows_per_task * row_len, |task, y| {
        vectorized!({
            for (idx, y) in y.chunks_exact_mut(row_len).enumerate() {
                let row = task * rows_per_task + idx;
                let image = image(x, in_len, row / rows);
                pool_row(g, image, row % rows, y);
            }
        });
    });
}

/// `slots` are x, y, dy and dx.
pub(super) fn backward(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let ([x, y, dy, dx], pool) = cpu.floats_with_pool(slots);
    let (x, y, dy, row_len) = (&*x, &*y, &*dy, g.width * g.channels);
    let in_len = g.height * row_len;
    let out_len = g.out_height() * g.out_width() * g.channels;
    let rows_per_task = (CHUNK / row_len.max(1)).max(1);
    pool.chunks(dx, rows_per_task * row_len, |task, dx| {
        vectorized!({
            for (idx, dx) in dx.chunks_exact_mut(row_len).enumerate() {
                let row = task * rows_per_task + idx;
                let number = row / g.height;
                let x = image(x, in_len, number);
                let [y, dy] = [y, dy].map(|all| image(all, out_len, number));
                match g.reduction {
                    Reduction::Max { ties: Ties::All } => {
                        max_backward_all(g, row % g.height, x, y, dy, dx)
                    }
                    Reduction::Max { ties: Ties::First } => {
                        max_backward_first(g, row % g.height, x, y, dy, dx)
                    }
                    Reduction::Average => {
                        let mut windows = Covering::of_row(g, row % g.height);
                        for (column, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
                            windows.move_to(g, column);
                            average_gradient(g, &windows, 0, dy, dx);
                        }
                    }
                }
            }
        });
    });
    Ok(())
}

/// `slots` are y, dy and x.
pub(super) fn backward_in_place(
    cpu: &mut Cpu,
    g: &Geometry,
    relu: bool,
    slots: [Slot; 3],
) -> Result<()> {
    let ([y, dy, x], pool) = cpu.floats_with_pool(slots);
    let (y, dy, row_len) = (&*y, &*dy, g.width * g.channels);
    let out_len = g.out_height() * g.out_width() * g.channels;
    let rows_per_task = (CHUNK / row_len.max(1)).max(1);
    pool.chunks(x, rows_per_task * row_len, |task, x| {
        vectorized!({
            for (row, x) in (task * rows_per_task..).zip(x.chunks_exact_mut(row_len)) {
                let [y, dy] = [y, dy].map(|all| image(all, out_len, row / g.height));
                backward_row_in_place(g, row % g.height, relu, y, dy, x);
            }
        });
    });
    Ok(())
}

fn image<T>(all: &[T], len: usize, number: usize) -> &[T] {
    &all[number * len..][..len]
}

/// The channels of one pixel of a map that is `width` pixels wide.
#[inline(always)]
fn pixel<'a, T>(map: &'a [T], g: &Geometry, width: usize, at: (usize, usize)) -> &'a [T] {
    &map[(at.0 * width + at.1) * g.channels..][..g.channels]
}

/// `N` channels of a pixel, starting with channel `first`.
#[inline(always)]
fn lanes<'a, const N: usize, T>(
    map: &'a [T],
    g: &Geometry,
    width: usize,
    at: (usize, usize),
    first: usize,
) -> &'a [T; N] {
    pixel(map, g, width, at)[first..].first_chunk().expect("as many channels")
}

/// One row of y.
#[inline(always)]
fn pool_row<X: Value, Y: Value>(g: &Geometry, x: &[X], out_row: usize, y: &mut [Y]) {
    for (out_column, y) in y.chunks_exact_mut(g.channels).enumerate() {
        in_strips(y, &Pooled { g, x, out: (out_row, out_column) });
    }
}

/// The maxima or means of the window `out`.
struct Pooled<'a, X> {
    g: &'a Geometry,
    x: &'a [X],
    out: (usize, usize),
}

impl<X: Value, Y: Value> Strip<Y> for Pooled<'_, X> {
    #[inline(always)]
    fn compute<const N: usize>(&self, first: usize, y: &mut [Y; N]) {
        let Pooled { g, x, out } = *self;
        let covered = [g.covered(out.0, g.height), g.covered(out.1, g.width)];
        let pixels = (covered[0].len() * covered[1].len()) as f32;
        match g.reduction {
            Reduction::Max { .. } => {
                let greatest = fold([f32::NEG_INFINITY; N], g, x, covered, first, greater);
                for (y, &greatest) in y.iter_mut().zip(&greatest) {
                    *y = Y::rounded(flushed(greatest));
                }
            }
            Reduction::Average => {
                let sums = fold([0.0; N], g, x, covered, first, sum);
                for (y, &sum) in y.iter_mut().zip(&sums) {
                    *y = Y::rounded(flushed(sum / pixels));
                }
            }
        }
    }
}

/// NaN replaces the maximum and, as nothing is greater, stays.
#[inline(always)]
fn greater(y: f32, x: f32) -> f32 {
    if x > y || x.is_nan() { x } else { y }
}

#[inline(always)]
fn sum(a: f32, b: f32) -> f32 {
    a + b
}

#[inline(always)]
fn fold<const N: usize, X: Value>(
    mut folded: [f32; N],
    g: &Geometry,
    x: &[X],
    [rows, columns]: [Range<usize>; 2],
    first: usize,
    step: impl Fn(f32, f32) -> f32,
) -> [f32; N] {
    for row in rows {
        for column in columns.clone() {
            let x: &[X; N] = lanes(x, g, g.width, (row, column), first);
            for (folded, &x) in folded.iter_mut().zip(x) {
                *folded = step(*folded, x.wide());
            }
        }
    }
    folded
}

/// One row of dx: the sum over all windows that cover a pixel of dy, where the pixel equals the
/// window's maximum.
#[inline(always)]
fn max_backward_all(g: &Geometry, row: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let mut windows = Covering::of_row(g, row);
    for (column, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
        let x = pixel(x, g, g.width, (row, column));
        windows.move_to(g, column);
        max_gradient(g, &windows, 0, x, y, dy, dx);
    }
}

/// Replaces a row of x by its gradient, strip by strip of channels.
#[inline(always)]
fn backward_row_in_place(
    g: &Geometry,
    row: usize,
    relu: bool,
    y: &[f32],
    dy: &[f32],
    x: &mut [f32],
) {
    let mut strip = [0.0; STRIP];
    let mut windows = Covering::of_row(g, row);
    for (column, x) in x.chunks_exact_mut(g.channels).enumerate() {
        windows.move_to(g, column);
        for (idx, x) in x.chunks_mut(STRIP).enumerate() {
            let (first, dx) = (idx * STRIP, &mut strip[..x.len()]);
            match g.reduction {
                Reduction::Max { .. } => max_gradient(g, &windows, first, x, y, dy, dx),
                Reduction::Average => average_gradient(g, &windows, first, dy, dx),
            }
            for (x, &dx) in x.iter_mut().zip(&*dx) {
                *x = if relu && *x <= 0.0 { 0.0 } else { dx };
            }
        }
    }
}

/// The windows that cover a pixel. The ranges are advanced from pixel to pixel of a row: divisions
/// by the stride would take longer than a pixel of few channels.
pub(crate) struct Covering {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// Windows in a row of windows.
    pub(crate) width: usize,
}

impl Covering {
    /// Starts a row of pixels, left of its first pixel.
    #[inline(always)]
    pub(crate) fn of_row(g: &Geometry, row: usize) -> Covering {
        Covering { rows: g.covering(row, g.out_height()), columns: 0..0, width: g.out_width() }
    }

    /// Moves right to the pixel in `column`.
    #[inline(always)]
    pub(crate) fn move_to(&mut self, g: &Geometry, column: usize) {
        let (at, Range { start, end }) = (column + g.pad, &mut self.columns);
        while *end < self.width && *end * g.stride <= at {
            *end += 1;
        }
        while *start < *end && *start * g.stride + g.window <= at {
            *start += 1;
        }
    }
}

/// The gradient of some of a pixel's channels, starting with channel `first`: the sum over all
/// windows that cover the pixel of dy, where the pixel equals the window's maximum.
#[inline(always)]
pub(crate) fn max_gradient(
    g: &Geometry,
    windows: &Covering,
    first: usize,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    in_strips(dx, &MaxGradient { g, windows, before: first, x, y, dy });
}

struct MaxGradient<'a> {
    g: &'a Geometry,
    windows: &'a Covering,
    /// Channels of the pixel before those of `x`.
    before: usize,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
}

impl Strip for MaxGradient<'_> {
    #[inline(always)]
    fn compute<const N: usize>(&self, first: usize, dx: &mut [f32; N]) {
        let MaxGradient { g, windows, before, .. } = *self;
        let x: &[f32; N] = self.x[first..].first_chunk().expect("as many channels");
        let mut sums = [0.0; N];
        for out_row in windows.rows.clone() {
            for out_column in windows.columns.clone() {
                let at = (out_row, out_column);
                let y: &[f32; N] = lanes(self.y, g, windows.width, at, before + first);
                let dy: &[f32; N] = lanes(self.dy, g, windows.width, at, before + first);
                for lane in 0..N {
                    sums[lane] += if x[lane] == y[lane] { dy[lane] } else { 0.0 };
                }
            }
        }
        *dx = sums;
        dx.iter_mut().for_each(|dx| *dx = flushed(*dx));
    }
}

/// One row of dx: the sum over all windows that cover a pixel of dy, where the pixel is the first
/// of the window that equals its maximum.
#[inline(always)]
fn max_backward_first(g: &Geometry, row: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let out_width = g.out_width();
    dx.fill(0.0);
    for out_row in g.covering(row, g.out_height()) {
        for out_column in 0..out_width {
            for start in (0..g.channels).step_by(STRIP) {
                let strip = start..g.channels.min(start + STRIP);
                let [y, dy] = [y, dy]
                    .map(|all| &pixel(all, g, out_width, (out_row, out_column))[strip.clone()]);
                let mut open = [u32::MAX; STRIP];
                for at in g.covered(out_row, g.height).start..=row {
                    for column in g.covered(out_column, g.width) {
                        let x = &pixel(x, g, g.width, (at, column))[strip.clone()];
                        if at == row {
                            let dx = &mut dx[column * g.channels..][strip.clone()];
                            add_to_first(x, y, dy, dx, &mut open);
                        } else {
                            for ((open, &x), &y) in open.iter_mut().zip(x).zip(y) {
                                *open &= if x == y { 0 } else { u32::MAX };
                            }
                        }
                    }
                }
            }
        }
    }
    dx.iter_mut().for_each(|dx| *dx = flushed(*dx));
}

/// dx += dy where x is the maximum and the window is still open; closes the window there.
#[inline(always)]
fn add_to_first(x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32], open: &mut [u32; STRIP]) {
    for ((((dx, open), &x), &y), &dy) in dx.iter_mut().zip(open).zip(x).zip(y).zip(dy) {
        let equal = if x == y { u32::MAX } else { 0 };
        *dx += f32::from_bits(dy.to_bits() & equal & *open);
        *open &= !equal;
    }
}

/// The gradient of some of a pixel's channels, starting with channel `first`: the sum over all
/// windows that cover the pixel of its share of dy.
#[inline(always)]
fn average_gradient(g: &Geometry, windows: &Covering, first: usize, dy: &[f32], dx: &mut [f32]) {
    in_strips(dx, &AverageGradient { g, windows, before: first, dy });
}

struct AverageGradient<'a> {
    g: &'a Geometry,
    windows: &'a Covering,
    /// Channels of the pixel before those to compute.
    before: usize,
    dy: &'a [f32],
}

impl Strip for AverageGradient<'_> {
    #[inline(always)]
    fn compute<const N: usize>(&self, first: usize, dx: &mut [f32; N]) {
        let AverageGradient { g, windows, before, dy } = *self;
        let mut sums = [0.0; N];
        for out_row in windows.rows.clone() {
            for out_column in windows.columns.clone() {
                let rows = g.covered(out_row, g.height);
                let share = 1.0 / (rows.len() * g.covered(out_column, g.width).len()) as f32;
                let at = (out_row, out_column);
                let dy: &[f32; N] = lanes(dy, g, windows.width, at, before + first);
                for (sum, &dy) in sums.iter_mut().zip(dy) {
                    *sum += dy * share;
                }
            }
        }
        *dx = sums;
        dx.iter_mut().for_each(|dx| *dx = flushed(*dx));
    }
}
