//! On the CPU: a few pixels of a row at a time, whose squares, powers and terms stay in the L1
//! cache. Each step of the arithmetic is applied to all these pixels before the next step, so that
//! sums over neighbouring channels do not wait for squares just stored.
//!
//! Memory bound: forward reads x and writes y, backward reads x, y and dy and writes dx.

use super::Geometry;
use crate::lrn::power::{Any, Half, One, Power, ThreeQuarters};
use crate::lrn::{self, window_sums};
use crate::pool::cpu::{Covering, max_gradient};
use crate::simd::{Strip, flushed, in_strips, vectorized};
use crate::value::Value;
use std::ops::Range;
use tensor::{Bf16, Cpu, DType, Pool, Result, Slot};

/// Floats of a buffer: some pixels, with zeros where windows extend beyond their towers. The
/// backward pass has six buffers in an L1 cache of 32 KB.
const ROOM: usize = Geometry::ROOM;

/// Floats of normalised pixels that forward keeps: a row of AlexNet's maps, whose windows then find
/// their maxima in the L1 and L2 caches.
const WIDE: usize = 8192;

/// The least number of tasks that a batch of few images is split into.
const TASKS: usize = 8;

pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    match y.dtype() {
        DType::Bf16 => forward_into::<Bf16>(cpu, g, x, y),
        _ => forward_into::<f32>(cpu, g, x, y),
    }
    Ok(())
}

fn forward_into<Y: Value>(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) {
    let ([x, y], pool) = cpu.lend_with_pool([x, y]);
    let (x, y): (&mut [f32], &mut [Y]) = (x.into(), y.into());
    match g.lrn.beta {
        0.75 => forward_by(pool, g, ThreeQuarters, x, y),
        0.5 => forward_by(pool, g, Half, x, y),
        1.0 => forward_by(pool, g, One, x, y),
        beta => forward_by(pool, g, Any(beta), x, y),
    }
}

/// `slots` are y, dy and x.
pub(super) fn backward_in_place(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 3]) -> Result<()> {
    let ([y, dy, x], pool) = cpu.floats_with_pool(slots);
    match g.lrn.beta {
        0.75 => backward_by(pool, g, ThreeQuarters, y, dy, x),
        0.5 => backward_by(pool, g, Half, y, dy, x),
        1.0 => backward_by(pool, g, One, y, dy, x),
        beta => backward_by(pool, g, Any(beta), y, dy, x),
    }
    Ok(())
}

fn forward_by<Y: Value>(pool: &Pool, g: &Geometry, power: impl Power, x: &[f32], y: &mut [Y]) {
    let rows = g.pool.out_height();
    let (row_len, in_len) = (g.pool.out_width() * g.lrn.channels, g.lrn.height * g.row_len());
    let task_rows = rows_per_task(g, rows);
    pool.chunks(y, task_rows * row_len, |task, y| {
        vectorized!({
            let mut buffers = ForwardBuffers { squares: [0.0; ROOM], normal: [0.0; WIDE] };
            let mut row = task * task_rows;
            let mut rest = &mut *y;
            while !rest.is_empty() {
                let (image, first) = (row / rows, row % rows);
                let n = (rows - first).min(rest.len() / row_len);
                let (y, later) = rest.split_at_mut(n * row_len);
                let x = &x[image * in_len..][..in_len];
                forward_rows(g, power, x, first..first + n, y, &mut buffers);
                (row, rest) = (row + n, later);
            }
        });
    });
}

struct ForwardBuffers {
    squares: [f32; ROOM],
    normal: [f32; WIDE],
}

/// The rows `out_rows` of an image's output. Normalises the input rows that they cover, one by one,
/// and updates the maxima of all windows that cover the row. Rows longer than `normal` are split
/// into blocks of columns, which overlap by a few pixels.
#[inline(always)]
fn forward_rows<Y: Value>(
    g: &Geometry,
    power: impl Power,
    x: &[f32],
    out_rows: Range<usize>,
    y: &mut [Y],
    ForwardBuffers { squares, normal }: &mut ForwardBuffers,
) {
    let (pool, channels) = (&g.pool, g.lrn.channels);
    let (out_width, held) = (pool.out_width(), WIDE / channels);
    let block = (held.saturating_sub(pool.window) / pool.stride + 1).min(out_width);
    let first = pool.covered(out_rows.start, pool.height).start;
    let end = pool.covered(out_rows.end - 1, pool.height).end;
    for start in (0..out_width).step_by(block) {
        let out_columns = start..out_width.min(start + block);
        let left = pool.covered(start, pool.width).start;
        let right = pool.covered(out_columns.end - 1, pool.width).end;
        for row in first..end {
            let windows = pool.covering(row, pool.out_height());
            let windows = windows.start.max(out_rows.start)..windows.end.min(out_rows.end);
            if windows.is_empty() {
                continue;
            }
            let x = &x[row * g.row_len()..][left * channels..right * channels];
            let normal = &mut normal[..x.len()];
            let run = ROOM / g.laid_out() * channels;
            for (x, normal) in x.chunks(run).zip(normal.chunks_mut(run)) {
                sum_squares(g, x, squares, normal);
                scale(power, &g.lrn, x, normal);
            }
            for out_column in out_columns.clone() {
                let columns = pool.covered(out_column, pool.width);
                let pixels = &normal[(columns.start - left) * channels..];
                let pixels = &pixels[..columns.len() * channels];
                for out_row in windows.clone() {
                    let at = (out_row - out_rows.start) * out_width + out_column;
                    let is_first = row == pool.covered(out_row, pool.height).start;
                    update_max(pixels, is_first, &mut y[at * channels..][..channels]);
                }
            }
        }
    }
}

/// y <- the maximum of y and of adjacent pixels; without y if they are the window's first.
#[inline(always)]
fn update_max<Y: Value>(pixels: &[f32], is_first: bool, y: &mut [Y]) {
    in_strips(y, &RunningMax { pixels, channels: y.len(), is_first });
}

struct RunningMax<'a> {
    pixels: &'a [f32],
    channels: usize,
    is_first: bool,
}

impl<Y: Value> Strip<Y> for RunningMax<'_> {
    #[inline(always)]
    fn compute<const N: usize>(&self, first: usize, y: &mut [Y; N]) {
        let mut greatest = [f32::NEG_INFINITY; N];
        if !self.is_first {
            for (greatest, y) in greatest.iter_mut().zip(&*y) {
                *greatest = y.wide();
            }
        }
        for pixel in self.pixels.chunks_exact(self.channels) {
            let x: &[f32; N] = pixel[first..].first_chunk().expect("as many channels");
            for (greatest, &x) in greatest.iter_mut().zip(x) {
                // NaN replaces the maximum and, as nothing is greater, stays.
                *greatest = if x > *greatest || x.is_nan() { x } else { *greatest };
            }
        }
        for (y, &greatest) in y.iter_mut().zip(&greatest) {
            *y = Y::rounded(greatest);
        }
    }
}

fn backward_by(pool: &Pool, g: &Geometry, power: impl Power, y: &[f32], dy: &[f32], x: &mut [f32]) {
    let out_len = g.pool.out_height() * g.pool.out_width() * g.lrn.channels;
    let task_rows = rows_per_task(g, g.lrn.height);
    pool.chunks(x, task_rows * g.row_len(), |task, x| {
        vectorized!({
            let mut buffers = Buffers::new(g);
            for (row, x) in (task * task_rows..).zip(x.chunks_exact_mut(g.row_len())) {
                let image = row / g.lrn.height * out_len;
                let [y, dy] = [y, dy].map(|all| &all[image..][..out_len]);
                backward_row(g, power, row % g.lrn.height, y, dy, x, &mut buffers);
            }
        });
    });
}

#[inline(always)]
fn backward_row(
    g: &Geometry,
    power: impl Power,
    row: usize,
    y: &[f32],
    dy: &[f32],
    x: &mut [f32],
    buffers: &mut Buffers,
) {
    let channels = g.lrn.channels;
    let mut windows = Covering::of_row(&g.pool, row);
    for (idx, x) in x.chunks_mut(buffers.pixels * channels).enumerate() {
        buffers.normalize(g, power, x);
        let normal = buffers.normal[..x.len()].chunks_exact(channels);
        let pixels = normal.zip(buffers.d_normal.chunks_exact_mut(channels));
        for (column, (normal, d_normal)) in (idx * buffers.pixels..).zip(pixels) {
            windows.move_to(&g.pool, column);
            max_gradient(&g.pool, &windows, 0, normal, y, dy, d_normal);
        }
        buffers.finish(g, x);
    }
}

fn rows_per_task(g: &Geometry, rows: usize) -> usize {
    rows.div_ceil(TASKS.div_ceil(g.lrn.images).min(rows)).max(1)
}

/// Intermediate values of a few pixels. In padded buffers each tower is preceded and followed by
/// the zeros that its windows extend into; the other buffers have no gaps.
struct Buffers {
    /// Number of pixels.
    pixels: usize,
    /// x^2, padded.
    squares: [f32; ROOM],
    /// dy_j x_j s_j^(-beta-1), padded.
    terms: [f32; ROOM],
    /// x s^-beta.
    normal: [f32; ROOM],
    d_normal: [f32; ROOM],
    /// s^-beta.
    scale: [f32; ROOM],
    /// s^-1.
    inverse: [f32; ROOM],
}

impl Buffers {
    #[inline(always)]
    fn new(g: &Geometry) -> Buffers {
        let empty = [0.0; ROOM];
        Buffers {
            pixels: ROOM / g.laid_out(),
            squares: empty,
            terms: empty,
            normal: empty,
            d_normal: empty,
            scale: empty,
            inverse: empty,
        }
    }

    /// Normalises the pixels `x`, and keeps s^-beta and s^-1.
    #[inline(always)]
    fn normalize(&mut self, g: &Geometry, power: impl Power, x: &[f32]) {
        let normal = &mut self.normal[..x.len()];
        sum_squares(g, x, &mut self.squares, normal);
        let (scale, inverse) = (&mut self.scale[..x.len()], &mut self.inverse[..x.len()]);
        scale_by_powers(power, &g.lrn, x, normal, scale, inverse);
    }

    /// Writes the gradient over `x`, once `d_normal` is complete.
    #[inline(always)]
    fn finish(&mut self, g: &Geometry, x: &mut [f32]) {
        let (size, tower) = (g.lrn.size, g.tower());
        let ((_, above), pitch) = (g.lrn.reach(), tower + size - 1);
        let twice = 2.0 * g.lrn.alpha_per_term() * g.lrn.beta;
        let (scale, inverse) = (&self.scale[..x.len()], &self.inverse[..x.len()]);
        let scaled = &mut self.d_normal[..x.len()];
        for (d, &scale) in scaled.iter_mut().zip(scale) {
            *d *= scale;
        }
        let towers = x.chunks_exact(tower).zip(scaled.chunks_exact(tower));
        let towers = towers.zip(inverse.chunks_exact(tower));
        for (((x, scaled), inverse), terms) in towers.zip(self.terms.chunks_exact_mut(pitch)) {
            fill_terms(x, scaled, inverse, &mut terms[above..][..tower]);
        }
        let totals = &mut self.normal[..x.len()];
        for (terms, totals) in self.terms.chunks_exact(pitch).zip(totals.chunks_exact_mut(tower)) {
            window_sums(terms, size, totals);
        }
        if g.relu {
            subtract::<true>(twice, scaled, totals, x)
        } else {
            subtract::<false>(twice, scaled, totals, x)
        }
    }
}

// These are separate functions so that the compiler knows that their operands do not overlap.

/// The sums of squares of the windows around every channel of the pixels `x`. The gaps between the
/// towers in `squares` are zero and stay zero.
#[inline(always)]
fn sum_squares(g: &Geometry, x: &[f32], squares: &mut [f32; ROOM], sums: &mut [f32]) {
    let (size, tower) = (g.lrn.size, g.tower());
    let ((below, _), pitch) = (g.lrn.reach(), tower + size - 1);
    for (x, squares) in x.chunks_exact(tower).zip(squares.chunks_exact_mut(pitch)) {
        for (square, &x) in squares[below..][..tower].iter_mut().zip(x) {
            *square = x * x;
        }
    }
    for (squares, sums) in squares.chunks_exact(pitch).zip(sums.chunks_exact_mut(tower)) {
        window_sums(squares, size, sums);
    }
}

/// `normal` holds the sums of squares and becomes x s^-beta.
#[inline(always)]
fn scale(power: impl Power, g: &lrn::Geometry, x: &[f32], normal: &mut [f32]) {
    let (k, alpha) = (g.k, g.alpha_per_term());
    for (normal, &x) in normal.iter_mut().zip(x) {
        *normal = flushed(x * power.of(k + alpha * *normal).0);
    }
}

/// [`scale`] that also stores the powers.
#[inline(always)]
fn scale_by_powers(
    power: impl Power,
    g: &lrn::Geometry,
    x: &[f32],
    normal: &mut [f32],
    scale: &mut [f32],
    inverse: &mut [f32],
) {
    let (n, k, alpha) = (x.len(), g.k, g.alpha_per_term());
    assert!(normal.len() == n && scale.len() == n && inverse.len() == n);
    for i in 0..n {
        let powers = power.of(k + alpha * normal[i]);
        scale[i] = powers.0;
        inverse[i] = powers.1;
        normal[i] = flushed(x[i] * powers.0);
    }
}

#[inline(always)]
fn fill_terms(x: &[f32], scaled: &[f32], inverse: &[f32], terms: &mut [f32]) {
    for (((term, &x), &scaled), &inverse) in terms.iter_mut().zip(x).zip(scaled).zip(inverse) {
        *term = scaled * inverse * x;
    }
}

/// Replaces x by its gradient.
#[inline(always)]
fn subtract<const RELU: bool>(twice: f32, scaled: &[f32], totals: &[f32], x: &mut [f32]) {
    for ((x, &scaled), &total) in x.iter_mut().zip(scaled).zip(totals) {
        let dx = flushed(scaled - twice * *x * total);
        *x = if RELU && *x <= 0.0 { 0.0 } else { dx };
    }
}
