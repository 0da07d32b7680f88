//! On the CPU: a task is a few rows of what is written, and vectors run along the channels. A strip
//! of channels stays in registers while the pixels of a window pass, or the windows of a pixel.
//!
//! The floor is memory: forward reads x and writes y, backward reads x, y and dy (an average's: dy
//! alone) and writes dx.

use super::{Geometry, Kind, Ties};
use crate::simd::{CHUNK, Strip, flushed, in_strips, vectorized};
use std::ops::Range;
use tensor::{Cpu, Result, Slot};

/// Channels of one pixel that are worked on at once where a mask is needed.
const STRIP: usize = 256;

pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    let (x, row_len, rows) = (&*x, g.out_width() * g.channels, g.out_height());
    let in_len = g.height * g.width * g.channels;
    let rows_a_task = (CHUNK / row_len.max(1)).max(1);
    pool.chunks(y, rows_a_task * row_len, |task, y| {
        vectorized(
            #[inline(always)]
            || {
                for (idx, y) in y.chunks_exact_mut(row_len).enumerate() {
                    let row = task * rows_a_task + idx;
                    let image = image(x, in_len, row / rows);
                    row_of_windows(g, image, row % rows, y);
                }
            },
        );
    });
    Ok(())
}

pub(super) fn backward(
    cpu: &mut Cpu,
    g: &Geometry,
    x: Slot,
    y: Slot,
    dy: Slot,
    dx: Slot,
) -> Result<()> {
    let ([x, y, dy, dx], pool) = cpu.floats_with_pool([x, y, dy, dx]);
    let (x, y, dy, row_len) = (&*x, &*y, &*dy, g.width * g.channels);
    let in_len = g.height * row_len;
    let out_len = g.out_height() * g.out_width() * g.channels;
    let rows_a_task = (CHUNK / row_len.max(1)).max(1);
    pool.chunks(dx, rows_a_task * row_len, |task, dx| {
        vectorized(
            #[inline(always)]
            || {
                for (idx, dx) in dx.chunks_exact_mut(row_len).enumerate() {
                    let row = task * rows_a_task + idx;
                    let number = row / g.height;
                    let x = image(x, in_len, number);
                    let [y, dy] = [y, dy].map(|all| image(all, out_len, number));
                    match g.kind {
                        Kind::Max { ties: Ties::All } => {
                            all_greatest(g, row % g.height, x, y, dy, dx)
                        }
                        Kind::Max { ties: Ties::First } => {
                            first_greatest(g, row % g.height, x, y, dy, dx)
                        }
                        Kind::Average => {
                            let mut seers = Seers::of_row(g, row % g.height);
                            for (column, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
                                seers.move_to(g, column);
                                shares(g, &seers, 0, dy, dx);
                            }
                        }
                    }
                }
            },
        );
    });
    Ok(())
}

pub(super) fn backward_in_place(
    cpu: &mut Cpu,
    g: &Geometry,
    relu: bool,
    y: Slot,
    dy: Slot,
    x: Slot,
) -> Result<()> {
    let ([y, dy, x], pool) = cpu.floats_with_pool([y, dy, x]);
    let (y, dy, row_len) = (&*y, &*dy, g.width * g.channels);
    let out_len = g.out_height() * g.out_width() * g.channels;
    let rows_a_task = (CHUNK / row_len.max(1)).max(1);
    pool.chunks(x, rows_a_task * row_len, |task, x| {
        vectorized(
            #[inline(always)]
            || {
                for (row, x) in (task * rows_a_task..).zip(x.chunks_exact_mut(row_len)) {
                    let [y, dy] = [y, dy].map(|all| image(all, out_len, row / g.height));
                    row_in_place(g, row % g.height, relu, y, dy, x);
                }
            },
        );
    });
    Ok(())
}

fn image(all: &[f32], len: usize, number: usize) -> &[f32] {
    &all[number * len..][..len]
}

/// The channels of one pixel of a map that is `width` pixels wide.
#[inline(always)]
fn pixel<'a>(map: &'a [f32], g: &Geometry, width: usize, at: (usize, usize)) -> &'a [f32] {
    &map[(at.0 * width + at.1) * g.channels..][..g.channels]
}

/// `N` channels of a pixel, from `first` on.
#[inline(always)]
fn lanes<'a, const N: usize>(
    map: &'a [f32],
    g: &Geometry,
    width: usize,
    at: (usize, usize),
    first: usize,
) -> &'a [f32; N] {
    pixel(map, g, width, at)[first..].first_chunk().expect("as many channels")
}

/// One row of maxima or means.
#[inline(always)]
fn row_of_windows(g: &Geometry, x: &[f32], out_row: usize, y: &mut [f32]) {
    for (out_column, y) in y.chunks_exact_mut(g.channels).enumerate() {
        in_strips(y, &Reduced { g, x, out: (out_row, out_column) });
    }
}

/// What the window `out` is reduced to.
struct Reduced<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    out: (usize, usize),
}

impl Strip for Reduced<'_> {
    #[inline(always)]
    fn make<const N: usize>(&self, first: usize, y: &mut [f32; N]) {
        let Reduced { g, x, out } = *self;
        let seen = (g.seen(out.0, g.height), g.seen(out.1, g.width));
        let pixels = (seen.0.len() * seen.1.len()) as f32;
        match g.kind {
            Kind::Max { .. } => {
                *y = fold([f32::NEG_INFINITY; N], g, x, seen, first, greater);
                y.iter_mut().for_each(|y| *y = flushed(*y));
            }
            Kind::Average => {
                *y = fold([0.0; N], g, x, seen, first, sum);
                y.iter_mut().for_each(|mean| *mean = flushed(*mean / pixels));
            }
        }
    }
}

/// NaN takes the place and, as nothing is greater, keeps it.
#[inline(always)]
fn greater(y: f32, x: f32) -> f32 {
    if x > y || x.is_nan() { x } else { y }
}

#[inline(always)]
fn sum(a: f32, b: f32) -> f32 {
    a + b
}

#[inline(always)]
fn fold<const N: usize>(
    mut folded: [f32; N],
    g: &Geometry,
    x: &[f32],
    (rows, columns): (Range<usize>, Range<usize>),
    first: usize,
    step: impl Fn(f32, f32) -> f32,
) -> [f32; N] {
    for row in rows {
        for column in columns.clone() {
            let x: &[f32; N] = lanes(x, g, g.width, (row, column), first);
            for (folded, &x) in folded.iter_mut().zip(x) {
                *folded = step(*folded, x);
            }
        }
    }
    folded
}

/// One row of dx: from every window that sees a pixel, dy where the pixel equals the window's
/// maximum.
#[inline(always)]
fn all_greatest(g: &Geometry, row: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let mut seers = Seers::of_row(g, row);
    for (column, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
        let x = pixel(x, g, g.width, (row, column));
        seers.move_to(g, column);
        to_greatest(g, &seers, 0, x, y, dy, dx);
    }
}

/// A row of x becomes one of dx, a strip of channels after the other.
#[inline(always)]
fn row_in_place(g: &Geometry, row: usize, relu: bool, y: &[f32], dy: &[f32], x: &mut [f32]) {
    let mut strip = [0.0; STRIP];
    let mut seers = Seers::of_row(g, row);
    for (column, x) in x.chunks_exact_mut(g.channels).enumerate() {
        seers.move_to(g, column);
        for (idx, x) in x.chunks_mut(STRIP).enumerate() {
            let dx = &mut strip[..x.len()];
            match g.kind {
                Kind::Max { .. } => to_greatest(g, &seers, idx * STRIP, x, y, dy, dx),
                Kind::Average => shares(g, &seers, idx * STRIP, dy, dx),
            }
            for (x, &dx) in x.iter_mut().zip(&*dx) {
                *x = if relu && *x <= 0.0 { 0.0 } else { dx };
            }
        }
    }
}

/// The windows that see a pixel. They are counted on from pixel to pixel of a row: divisions by the
/// stride would take longer than a pixel of few channels.
pub(crate) struct Seers {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// Windows in a row of windows.
    pub(crate) width: usize,
}

impl Seers {
    /// Of a row of pixels, left of the first.
    #[inline(always)]
    pub(crate) fn of_row(g: &Geometry, row: usize) -> Seers {
        Seers { rows: g.seen_by(row, g.out_height()), columns: 0..0, width: g.out_width() }
    }

    /// Goes right to the pixel in `column`.
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

/// The gradient of some of a pixel's channels, from `first` on: from every window that sees it, dy
/// where it equals the window's maximum.
#[inline(always)]
pub(crate) fn to_greatest(
    g: &Geometry,
    seers: &Seers,
    first: usize,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    in_strips(dx, &OfGreatest { g, seers, before: first, x, y, dy });
}

struct OfGreatest<'a> {
    g: &'a Geometry,
    seers: &'a Seers,
    /// Channels of the pixel before those of `x`.
    before: usize,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
}

impl Strip for OfGreatest<'_> {
    #[inline(always)]
    fn make<const N: usize>(&self, first: usize, dx: &mut [f32; N]) {
        let OfGreatest { g, seers, before, .. } = *self;
        let x: &[f32; N] = self.x[first..].first_chunk().expect("as many channels");
        let mut sums = [0.0; N];
        for out_row in seers.rows.clone() {
            for out_column in seers.columns.clone() {
                let at = (out_row, out_column);
                let y: &[f32; N] = lanes(self.y, g, seers.width, at, before + first);
                let dy: &[f32; N] = lanes(self.dy, g, seers.width, at, before + first);
                for lane in 0..N {
                    sums[lane] += if x[lane] == y[lane] { dy[lane] } else { 0.0 };
                }
            }
        }
        *dx = sums;
        dx.iter_mut().for_each(|dx| *dx = flushed(*dx));
    }
}

/// One row of dx: from every window that sees it, dy where no pixel before it in the window
/// equalled the maximum.
#[inline(always)]
fn first_greatest(g: &Geometry, row: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let out_width = g.out_width();
    dx.fill(0.0);
    for out_row in g.seen_by(row, g.out_height()) {
        for out_column in 0..out_width {
            for start in (0..g.channels).step_by(STRIP) {
                let strip = start..g.channels.min(start + STRIP);
                let [y, dy] = [y, dy]
                    .map(|all| &pixel(all, g, out_width, (out_row, out_column))[strip.clone()]);
                let mut open = [u32::MAX; STRIP];
                for at in g.seen(out_row, g.height).start..=row {
                    for column in g.seen(out_column, g.width) {
                        let x = &pixel(x, g, g.width, (at, column))[strip.clone()];
                        if at == row {
                            let dx = &mut dx[column * g.channels..][strip.clone()];
                            take_first(x, y, dy, dx, &mut open);
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

/// dx += dy where x is the maximum and the window is still open, which it then no longer is.
#[inline(always)]
fn take_first(x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32], open: &mut [u32; STRIP]) {
    for ((((dx, open), &x), &y), &dy) in dx.iter_mut().zip(open).zip(x).zip(y).zip(dy) {
        let equal = if x == y { u32::MAX } else { 0 };
        *dx += f32::from_bits(dy.to_bits() & equal & *open);
        *open &= !equal;
    }
}

/// The gradient of some of a pixel's channels, from `first` on: from every window that sees it, its
/// share of dy.
#[inline(always)]
fn shares(g: &Geometry, seers: &Seers, first: usize, dy: &[f32], dx: &mut [f32]) {
    in_strips(dx, &OfShares { g, seers, before: first, dy });
}

struct OfShares<'a> {
    g: &'a Geometry,
    seers: &'a Seers,
    /// Channels of the pixel before those that are made.
    before: usize,
    dy: &'a [f32],
}

impl Strip for OfShares<'_> {
    #[inline(always)]
    fn make<const N: usize>(&self, first: usize, dx: &mut [f32; N]) {
        let OfShares { g, seers, before, dy } = *self;
        let mut sums = [0.0; N];
        for out_row in seers.rows.clone() {
            for out_column in seers.columns.clone() {
                let seen = g.seen(out_row, g.height).len() * g.seen(out_column, g.width).len();
                let share = 1.0 / seen as f32;
                let dy: &[f32; N] =
                    lanes(dy, g, seers.width, (out_row, out_column), before + first);
                for (sum, &dy) in sums.iter_mut().zip(dy) {
                    *sum += dy * share;
                }
            }
        }
        *dx = sums;
        dx.iter_mut().for_each(|dx| *dx = flushed(*dx));
    }
}
