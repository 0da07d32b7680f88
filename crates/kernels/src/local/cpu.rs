//! The locally connected layer on the CPU: a linear layer at every pixel, by the register tile.
//!
//! The rows of a tile are the images of a batch, at a regular distance, so that x, y and their
//! gradients are read and written in place; windows are clipped at the edges, in the same way for
//! all images. Each pixel's filters are packed once for the whole batch. The gradient of the input
//! is gathered: a pixel of dx sums over the windows that cover it, in the order of their taps, so
//! threads never write the same pixel.
//!
//! Lower bound: the processor's peak of multiply-adds for a hundred images or more; for few images,
//! reading w once, as no weight is shared: 5.3 MB in cuda-convnet's `local3` (6 x 6 pixels, 64
//! filters of 3 x 3 x 64).

use super::Geometry;
use crate::gemm::{Isa, Layout, Loop, SharedFloats, Start, Tile, copy_rows, transpose_panel};
use crate::linear::sum_rows;
use crate::operands::{
    BackwardInput, BackwardInputSlices, BackwardWeights, BackwardWeightsSlices, Forward,
    ForwardSlices,
};
use std::ops::Range;
use tensor::Pool;

pub(super) fn scratch(isa: Isa, g: &Geometry, threads: usize) -> usize {
    threads * per_thread(isa, g)
}

/// Floats of a packed panel: of filters, taps or pixels.
fn per_thread(isa: Isa, g: &Geometry) -> usize {
    let taps = g.window.0 * g.window.1 * (g.channels / g.groups);
    isa.columns() * taps.max(g.filters / g.groups).max(g.images)
}

/// Strides in floats, and sizes of a group.
struct Steps {
    /// From one image of x to the next.
    x_image: usize,
    /// From one row of x to the next.
    x_row: usize,
    /// From one image of y to the next.
    y_image: usize,
    /// From one filter to the next.
    filter: usize,
    group_channels: usize,
    group_filters: usize,
}

impl Steps {
    fn of(g: &Geometry) -> Steps {
        let group_channels = g.channels / g.groups;
        Steps {
            x_image: g.height * g.width * g.channels,
            x_row: g.width * g.channels,
            y_image: g.pixels() * g.filters,
            filter: g.window.0 * g.window.1 * group_channels,
            group_channels,
            group_filters: g.filters / g.groups,
        }
    }
}

/// The part of an output pixel's window that lies inside the image.
struct ClippedWindow {
    /// Rows of the window.
    kh: Range<usize>,
    /// Columns of the window.
    kw: Range<usize>,
    /// Row and column of the image's pixel under the first of them.
    first: (usize, usize),
}

/// The range of taps that lie inside `size` pixels, of a window that starts `pad` before pixel
/// `at`, and the pixel under the first.
fn inside(at: usize, pad: usize, window: usize, size: usize) -> (Range<usize>, usize) {
    let begin = pad.saturating_sub(at).min(window);
    let end = (size + pad).saturating_sub(at).min(window).max(begin);
    (begin..end, (at + begin).saturating_sub(pad))
}

impl ClippedWindow {
    fn from(g: &Geometry, pixel: usize) -> ClippedWindow {
        let (i, j) = (pixel / g.out_width(), pixel % g.out_width());
        let (kh, row) = inside(i * g.stride, g.pad.top, g.window.0, g.height);
        let (kw, column) = inside(j * g.stride, g.pad.left, g.window.1, g.width);
        ClippedWindow { kh, kw, first: (row, column) }
    }

    fn is_empty(&self) -> bool {
        self.kh.is_empty() || self.kw.is_empty()
    }
}

/// First column and number of columns of each panel of `width`.
fn panels(total: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(width).map(move |first| (first, width.min(total - first)))
}

pub(super) fn forward(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    Forward { x, w, b, y, scratch }: ForwardSlices<'_>,
) {
    let (s, width, own) = (Steps::of(g), isa.columns(), per_thread(isa, g));
    let (y, scratch) = (SharedFloats::new(y), SharedFloats::new(scratch));
    pool.each_with_thread(g.pixels(), |pixel, thread| {
        // SAFETY: each thread has its own part.
        let packed = unsafe { scratch.part(thread * own..(thread + 1) * own) };
        let window = ClippedWindow::from(g, pixel);
        let run = window.kw.len() * s.group_channels;
        for group in 0..g.groups {
            for (f, columns) in panels(s.group_filters, width) {
                let filter = pixel * g.filters + group * s.group_filters + f;
                for (kh, part) in
                    window.kh.clone().zip(packed.chunks_exact_mut((run * width).max(1)))
                {
                    let at = (kh * g.window.1 + window.kw.start) * s.group_channels;
                    transpose_panel(&w[filter * s.filter + at..], s.filter, columns, width, part);
                }
                let a = (window.first.0 * g.width + window.first.1) * g.channels
                    + group * s.group_channels;
                for (n, rows) in isa.split(g.images).iter() {
                    let tile = Tile {
                        rows,
                        columns,
                        a: if window.is_empty() { &[] } else { &x[n * s.x_image + a..] },
                        layout: Layout::Rows(s.x_image),
                        b: packed,
                        outer: Loop { count: window.kh.len(), a: s.x_row, b: run * width },
                        middle: Loop {
                            count: window.kw.len(),
                            a: g.channels,
                            b: s.group_channels * width,
                        },
                        inner: s.group_channels,
                        c: n * s.y_image + filter,
                        c_row: s.y_image,
                        start: Start::Bias(&b[filter..filter + columns]),
                        relu: g.relu,
                        last: true,
                    };
                    // SAFETY: units are different pixels of y.
                    unsafe { isa.tile(&tile, &y) };
                }
            }
        }
    });
}

pub(super) fn backward_input(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    BackwardInput { dy, w, dx, scratch }: BackwardInputSlices<'_>,
) {
    let (s, width, own) = (Steps::of(g), isa.columns(), per_thread(isa, g));
    let (dx, scratch) = (SharedFloats::new(dx), SharedFloats::new(scratch));
    pool.each_with_thread(g.height * g.width, |at, thread| {
        // SAFETY: each thread has its own part.
        let packed = unsafe { scratch.part(thread * own..(thread + 1) * own) };
        let packed = &mut packed[..s.group_filters * width];
        let (row, column) = (at / g.width, at % g.width);
        for group in 0..g.groups {
            for (c, columns) in panels(s.group_channels, width) {
                let channel = group * s.group_channels + c;
                let mut start = Start::Zero;
                let mut windows = windows_over(g, row, column).peekable();
                while let Some((kh, kw, pixel)) = windows.next() {
                    let last = windows.peek().is_none();
                    let filter = pixel * g.filters + group * s.group_filters;
                    let tap = (kh * g.window.1 + kw) * s.group_channels + c;
                    copy_rows(&w[filter * s.filter + tap..], s.filter, columns, width, packed);
                    for (n, rows) in isa.split(g.images).iter() {
                        let tile = Tile {
                            rows,
                            columns,
                            a: &dy[n * s.y_image + filter..],
                            layout: Layout::Rows(s.y_image),
                            b: packed,
                            outer: Loop::ONCE,
                            middle: Loop::ONCE,
                            inner: s.group_filters,
                            c: n * s.x_image + at * g.channels + channel,
                            c_row: s.x_image,
                            start,
                            relu: false,
                            last,
                        };
                        // SAFETY: units are different pixels of dx.
                        unsafe { isa.tile(&tile, &dx) };
                    }
                    start = Start::Sum;
                }
                if matches!(start, Start::Zero) {
                    for n in 0..g.images {
                        let first = n * s.x_image + at * g.channels + channel;
                        // SAFETY: as above.
                        unsafe { dx.part(first..first + columns) }.fill(0.0);
                    }
                }
            }
        }
    });
}

/// Every window that covers this pixel of the input: row and column of the tap on the pixel, and
/// the window's output pixel.
fn windows_over(
    g: &Geometry,
    row: usize,
    column: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let (g, taps) = (*g, g.window.0 * g.window.1);
    let output_of = move |at: usize, pad: usize, tap: usize, outputs: usize| {
        let from_first = (at + pad).checked_sub(tap)?;
        let output = from_first / g.stride;
        (from_first.is_multiple_of(g.stride) && output < outputs).then_some(output)
    };
    (0..taps).filter_map(move |tap| {
        let (kh, kw) = (tap / g.window.1, tap % g.window.1);
        let i = output_of(row, g.pad.top, kh, g.out_height())?;
        let j = output_of(column, g.pad.left, kw, g.out_width())?;
        Some((kh, kw, i * g.out_width() + j))
    })
}

pub(super) fn backward_filter(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    BackwardWeights { x, dy, dw, db, scratch }: BackwardWeightsSlices<'_>,
) {
    sum_rows(pool, dy, db);
    let (s, width, own) = (Steps::of(g), isa.columns(), per_thread(isa, g));
    let (dw, scratch) = (SharedFloats::new(dw), SharedFloats::new(scratch));
    pool.each_with_thread(g.pixels(), |pixel, thread| {
        // SAFETY: each thread has its own part.
        let packed = unsafe { scratch.part(thread * own..(thread + 1) * own) };
        let packed = &mut packed[..g.images * width];
        let window = ClippedWindow::from(g, pixel);
        if (window.kh.len(), window.kw.len()) != g.window {
            let filters = pixel * g.filters * s.filter..(pixel + 1) * g.filters * s.filter;
            // SAFETY: units are different pixels' filters.
            unsafe { dw.part(filters) }.fill(0.0); // taps outside the image
        }
        for group in 0..g.groups {
            let filter = pixel * g.filters + group * s.group_filters;
            for (tap, at) in taps(g, &window) {
                for (c, columns) in panels(s.group_channels, width) {
                    let from = at + group * s.group_channels + c;
                    copy_rows(&x[from..], s.x_image, columns, width, packed);
                    for (f, rows) in isa.split(s.group_filters).iter() {
                        let tile = Tile {
                            rows,
                            columns,
                            a: &dy[filter + f..],
                            layout: Layout::Columns(s.y_image),
                            b: packed,
                            outer: Loop::ONCE,
                            middle: Loop::ONCE,
                            inner: g.images,
                            c: (filter + f) * s.filter + tap * s.group_channels + c,
                            c_row: s.filter,
                            start: Start::Zero,
                            relu: false,
                            last: true,
                        };
                        // SAFETY: as above.
                        unsafe { isa.tile(&tile, &dw) };
                    }
                }
            }
        }
    });
}

/// The taps of a window that lie inside the image, each with its pixel's offset in an image of x.
fn taps(g: &Geometry, window: &ClippedWindow) -> impl Iterator<Item = (usize, usize)> {
    let (g, (row, column)) = (*g, window.first);
    let (kh, kw) = (window.kh.clone(), window.kw.clone());
    kh.enumerate().flat_map(move |(down, kh)| {
        kw.clone().enumerate().map(move |(right, kw)| {
            (kh * g.window.1 + kw, ((row + down) * g.width + column + right) * g.channels)
        })
    })
}
