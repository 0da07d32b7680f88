//! On the CPU: a task is a few rows of what is written, and vectors run along the channels.

use super::{Geometry, Kind, Ties};
use crate::simd::{CHUNK, vectorized};
use std::array::from_ref;
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
                    match g.kind {
                        Kind::Max { .. } => max_row(g, image, row % rows, y),
                        Kind::Average => average_row(g, image, row % rows, y),
                    }
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
                            for (column, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
                                let seers = Seers::of(g, (row % g.height, column));
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

/// Channels whose maxima stay in registers while the window passes.
const LANES: usize = 32;

/// One row of maxima.
#[inline(always)]
fn max_row(g: &Geometry, x: &[f32], out_row: usize, y: &mut [f32]) {
    for (out_column, y) in y.chunks_exact_mut(g.channels).enumerate() {
        let (wide, rest) = y.as_chunks_mut::<LANES>();
        let in_wide = wide.len() * LANES;
        for (strip, y) in wide.iter_mut().enumerate() {
            *y = greatest(g, x, (out_row, out_column), strip * LANES);
        }
        for (channel, y) in rest.iter_mut().enumerate() {
            [*y] = greatest(g, x, (out_row, out_column), in_wide + channel);
        }
    }
}

/// The maxima of a window in `N` channels from `first` on.
#[inline(always)]
fn greatest<const N: usize>(
    g: &Geometry,
    x: &[f32],
    (out_row, out_column): (usize, usize),
    first: usize,
) -> [f32; N] {
    let mut greatest = [f32::NEG_INFINITY; N];
    for row in g.seen(out_row, g.height) {
        for column in g.seen(out_column, g.width) {
            let x: &[f32; N] = pixel(x, g, g.width, (row, column))[first..]
                .first_chunk()
                .expect("as many channels");
            for (y, &x) in greatest.iter_mut().zip(x) {
                // NaN takes the place and, as nothing is greater, keeps it.
                *y = if x > *y || x.is_nan() { x } else { *y };
            }
        }
    }
    greatest
}

/// One row of means.
#[inline(always)]
fn average_row(g: &Geometry, x: &[f32], out_row: usize, y: &mut [f32]) {
    let rows = g.seen(out_row, g.height);
    for (out_column, y) in y.chunks_exact_mut(g.channels).enumerate() {
        let columns = g.seen(out_column, g.width);
        y.fill(0.0);
        for row in rows.clone() {
            for column in columns.clone() {
                for (y, &x) in y.iter_mut().zip(pixel(x, g, g.width, (row, column))) {
                    *y += x;
                }
            }
        }
        let seen = (rows.len() * columns.len()) as f32;
        y.iter_mut().for_each(|y| *y /= seen);
    }
}

/// One row of dx: from every window that sees a pixel, dy where the pixel equals the window's
/// maximum.
#[inline(always)]
fn all_greatest(g: &Geometry, row: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    for (column, dx) in dx.chunks_exact_mut(g.channels).enumerate() {
        let x = pixel(x, g, g.width, (row, column));
        to_greatest(g, &Seers::of(g, (row, column)), 0, x, y, dy, dx);
    }
}

/// A row of x becomes one of dx, a strip of channels after the other.
#[inline(always)]
fn row_in_place(g: &Geometry, row: usize, relu: bool, y: &[f32], dy: &[f32], x: &mut [f32]) {
    let mut strip = [0.0; STRIP];
    for (column, x) in x.chunks_exact_mut(g.channels).enumerate() {
        let seers = Seers::of(g, (row, column));
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

/// The windows that see a pixel.
pub(crate) struct Seers {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// Windows in a row of windows.
    pub(crate) width: usize,
}

impl Seers {
    #[inline(always)]
    pub(crate) fn of(g: &Geometry, (row, column): (usize, usize)) -> Seers {
        let (height, width) = (g.out_height(), g.out_width());
        Seers { rows: g.seen_by(row, height), columns: g.seen_by(column, width), width }
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
    let len = dx.len();
    let window = |row: usize, column: usize| {
        let start = ((seers.rows.start + row) * seers.width + seers.columns.start + column)
            * g.channels
            + first;
        [&y[start..][..len], &dy[start..][..len]]
    };
    // The paper's windows overlap by a pixel: then four, two or one see it.
    match (seers.rows.len(), seers.columns.len()) {
        (1, 1) => from_windows([window(0, 0)], x, dx),
        (1, 2) => from_windows([window(0, 0), window(0, 1)], x, dx),
        (2, 1) => from_windows([window(0, 0), window(1, 0)], x, dx),
        (2, 2) => {
            from_windows([window(0, 0), window(0, 1), window(1, 0), window(1, 1)], x, dx);
        }
        (_, columns) => {
            dx.fill(0.0);
            for n in 0..seers.rows.len() * columns {
                let [y, dy] = window(n / columns, n % columns);
                for (((dx, &x), &y), &dy) in dx.iter_mut().zip(x).zip(y).zip(dy) {
                    *dx += if x == y { dy } else { 0.0 };
                }
            }
        }
    }
}

/// dx = the sum of dy over the windows' [y, dy] where x equals y.
#[inline(always)]
fn from_windows<const N: usize>(windows: [[&[f32]; 2]; N], x: &[f32], dx: &mut [f32]) {
    let chunked = windows.map(|pair| pair.map(|all| all.as_chunks::<LANES>().0));
    let (wide, rest) = dx.as_chunks_mut::<LANES>();
    let in_wide = wide.len() * LANES;
    for (idx, (dx, x)) in wide.iter_mut().zip(x.as_chunks().0).enumerate() {
        *dx = where_equal(chunked.map(|pair| pair.map(|all| &all[idx])), x);
    }
    for (channel, (dx, x)) in (in_wide..).zip(rest.iter_mut().zip(&x[in_wide..])) {
        [*dx] =
            where_equal(windows.map(|pair| pair.map(|all| from_ref(&all[channel]))), from_ref(x));
    }
}

/// The sum of dy over the windows' [y, dy] where x equals y, in `L` channels.
#[inline(always)]
fn where_equal<const N: usize, const L: usize>(
    windows: [[&[f32; L]; 2]; N],
    x: &[f32; L],
) -> [f32; L] {
    let mut sums = [0.0; L];
    for [y, dy] in windows {
        for lane in 0..L {
            sums[lane] += if x[lane] == y[lane] { dy[lane] } else { 0.0 };
        }
    }
    sums
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
    dx.fill(0.0);
    for out_row in seers.rows.clone() {
        for out_column in seers.columns.clone() {
            let seen = g.seen(out_row, g.height).len() * g.seen(out_column, g.width).len();
            let share = 1.0 / seen as f32;
            let dy = &pixel(dy, g, seers.width, (out_row, out_column))[first..];
            for (dx, &dy) in dx.iter_mut().zip(dy) {
                *dx += dy * share;
            }
        }
    }
}
