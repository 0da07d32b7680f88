//! Windows over the pixels of one channel: tiles of the map, 32 channels at a time. Squares are
//! summed along rows, with results in the L1 cache, then along columns, in registers, and the
//! powers taken at once.
//!
//! Memory bound: forward reads x and writes y, backward reads x and dy and writes dx. Forward with
//! a 3 x 3 window computes some 30 operations per element, which takes about as long.

use super::Geometry;
use super::power::Power;
use crate::simd::flushed;
use std::ops::Range;

/// Channels at a time: two cache lines, which are prefetched together.
const LANES: usize = 32;

/// Rows and columns of a tile. Small, since a tile's cells are cleared for every task.
const TILE: usize = 16;

/// The largest window for which the squares of a tile are stored.
const MAX_SIZE: usize = 9;

/// Rows and columns of a tile with the margins that windows at its edges extend into.
const SIDE: usize = TILE + 2 * (MAX_SIZE - 1);

type Cell = [f32; LANES];

/// The tile of one image that starts at pixel (`top`, `left`) and channel `channel`. A `WHOLE` tile
/// has `LANES` channels, a constant for the compiler.
struct Tile<'a, const WHOLE: bool> {
    g: &'a Geometry,
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    channel: usize,
    lanes: usize,
}

/// The sums of a tile and its margins.
type Cells = [Cell; SIDE * SIDE];

/// Normalises whole images.
#[inline(always)]
pub(super) fn forward(g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32]) {
    let image = g.height * g.width * g.channels;
    let mut cells = [[0.0; LANES]; SIDE * SIDE];
    for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(image)) {
        match g.size {
            ..=MAX_SIZE => {
                let whole = g.channels / LANES * LANES;
                forward_tiles::<true>(g, power, 0..whole, x, y, &mut cells);
                forward_tiles::<false>(g, power, whole..g.channels, x, y, &mut cells);
            }
            _ => wide::forward(g, power, x, y),
        }
    }
}

/// The gradients of whole images.
#[inline(always)]
pub(super) fn backward(g: &Geometry, power: impl Power, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let image = g.height * g.width * g.channels;
    let mut cells = [[0.0; LANES]; SIDE * SIDE];
    let images = x.chunks_exact(image).zip(dy.chunks_exact(image));
    for ((x, dy), dx) in images.zip(dx.chunks_exact_mut(image)) {
        match g.size {
            ..=MAX_SIZE => {
                let whole = g.channels / LANES * LANES;
                backward_tiles::<true>(g, power, 0..whole, x, dy, dx, &mut cells);
                backward_tiles::<false>(g, power, whole..g.channels, x, dy, dx, &mut cells);
            }
            _ => wide::backward(g, power, x, dy, dx),
        }
    }
}

#[inline(always)]
fn forward_tiles<const WHOLE: bool>(
    g: &Geometry,
    power: impl Power,
    channels: Range<usize>,
    x: &[f32],
    y: &mut [f32],
    cells: &mut Cells,
) {
    let (below, _) = g.reach();
    let (alpha, k) = (g.alpha_per_term(), g.k);
    for_each_tile(
        g,
        channels,
        #[inline(always)]
        |tile: Tile<WHOLE>| {
            let (rows, columns) = (tile.height, tile.width);
            tile.sum_squares(x, below, (rows + g.size - 1, columns), cells);
            for row in 0..rows {
                for column in 0..columns {
                    let sums = column_sum(cells, g.size, row * SIDE + column);
                    let place = tile.place(row, column);
                    let mut pixel = tile.load(x, place);
                    for (pixel, &sum) in pixel.iter_mut().zip(&sums) {
                        *pixel = flushed(*pixel * power.of(k + alpha * sum).0);
                    }
                    tile.store(&pixel, place, y);
                }
            }
        },
    );
}

#[inline(always)]
fn backward_tiles<const WHOLE: bool>(
    g: &Geometry,
    power: impl Power,
    channels: Range<usize>,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    cells: &mut Cells,
) {
    let (below, above) = g.reach();
    let twice = 2.0 * g.alpha_per_term() * g.beta;
    let mut line = [[0.0; LANES]; SIDE];
    for_each_tile(
        g,
        channels,
        #[inline(always)]
        |tile: Tile<WHOLE>| {
            // All pixels whose windows contain one of the tile's; the first is (top - above, left -
            // above).
            let (rows, columns) = (tile.height + g.size - 1, tile.width + g.size - 1);
            tile.sum_squares(x, below + above, (rows + g.size - 1, columns), cells);
            for row in 0..rows {
                for (column, term) in line[..columns].iter_mut().enumerate() {
                    *term = tile.terms(power, x, dy, dx, (row, column), cells);
                }
                // This row's squares are no longer needed: the sums of terms replace them.
                row_sums(&line, g.size, &mut cells[row * SIDE..][..tile.width]);
            }
            for row in 0..tile.height {
                for column in 0..tile.width {
                    let totals = column_sum(cells, g.size, row * SIDE + column);
                    let place = tile.place(row, column);
                    let (x, mut pixel) = (tile.load(x, place), tile.load(dx, place));
                    for ((dx, &x), &total) in pixel.iter_mut().zip(&x).zip(&totals) {
                        *dx = flushed(*dx - twice * x * total);
                    }
                    tile.store(&pixel, place, dx);
                }
            }
        },
    );
}

#[inline(always)]
fn for_each_tile<const WHOLE: bool>(
    g: &Geometry,
    channels: Range<usize>,
    mut work: impl FnMut(Tile<WHOLE>),
) {
    for channel in channels.clone().step_by(LANES) {
        for top in (0..g.height).step_by(TILE) {
            for left in (0..g.width).step_by(TILE) {
                let (height, width) = (TILE.min(g.height - top), TILE.min(g.width - left));
                let lanes = LANES.min(channels.end - channel);
                work(Tile { g, top, left, height, width, channel, lanes });
            }
        }
    }
}

impl<const WHOLE: bool> Tile<'_, WHOLE> {
    /// The offset of the tile's pixel in the image.
    #[inline(always)]
    fn place(&self, row: usize, column: usize) -> usize {
        ((self.top + row) * self.g.width + self.left + column) * self.g.channels + self.channel
    }

    /// The tile's channels of the pixel at `place`, padded with zeros.
    #[inline(always)]
    fn load(&self, map: &[f32], place: usize) -> Cell {
        if WHOLE {
            return *map[place..].first_chunk().expect("as many channels");
        }
        let mut cell = [0.0; LANES];
        cell[..self.lanes].copy_from_slice(&map[place..][..self.lanes]);
        cell
    }

    #[inline(always)]
    fn store(&self, cell: &Cell, place: usize, map: &mut [f32]) {
        let lanes = if WHOLE { LANES } else { self.lanes };
        map[place..][..lanes].copy_from_slice(&cell[..lanes]);
    }

    /// The sums of squares of every `size` neighbours in a row. The first row is `reach` pixels
    /// above the tile, the first pixel `reach` pixels to its left. Outside the map squares are
    /// zero.
    #[inline(always)]
    fn sum_squares(
        &self,
        x: &[f32],
        reach: usize,
        (rows, columns): (usize, usize),
        cells: &mut [Cell],
    ) {
        let mut line = [[0.0; LANES]; SIDE];
        for (row, sums) in cells.chunks_exact_mut(SIDE).take(rows).enumerate() {
            for (column, square) in line[..columns + self.g.size - 1].iter_mut().enumerate() {
                *square = [0.0; LANES];
                if let Some(place) = self.place_around(row, column, reach) {
                    let x = self.load(x, place);
                    for (square, &x) in square.iter_mut().zip(&x) {
                        *square = x * x;
                    }
                }
            }
            row_sums(&line, self.g.size, &mut sums[..columns]);
        }
    }

    /// The term dy_j x_j s_j^(-beta-1) of a pixel, zero outside the map, from the sums of squares
    /// of rows. For a pixel of the tile, dy s^-beta is stored to dx.
    #[inline(always)]
    fn terms(
        &self,
        power: impl Power,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        (row, column): (usize, usize),
        cells: &Cells,
    ) -> Cell {
        let (_, above) = self.g.reach();
        let (alpha, k) = (self.g.alpha_per_term(), self.g.k);
        let Some(place) = self.place_around(row, column, above) else {
            return [0.0; LANES];
        };
        let sums = column_sum(cells, self.g.size, row * SIDE + column);
        let (x, dy) = (self.load(x, place), self.load(dy, place));
        let (mut terms, mut scaled) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let (scale, inverse) = power.of(k + alpha * sums[lane]);
            scaled[lane] = dy[lane] * scale;
            terms[lane] = scaled[lane] * inverse * x[lane];
        }
        let in_tile = |at: usize, extent: usize| at >= above && at < above + extent;
        if in_tile(row, self.height) && in_tile(column, self.width) {
            self.store(&scaled, place, dx);
        }
        terms
    }

    /// The offset of a pixel whose coordinates start `reach` pixels above and left of the tile.
    #[inline(always)]
    fn place_around(&self, row: usize, column: usize, reach: usize) -> Option<usize> {
        let y = (self.top + row).checked_sub(reach).filter(|&y| y < self.g.height)?;
        let x = (self.left + column).checked_sub(reach).filter(|&x| x < self.g.width)?;
        Some((y * self.g.width + x) * self.g.channels + self.channel)
    }
}

/// sums[column] = line[column] + ... + line[column + size - 1], added in this order.
#[inline(always)]
fn row_sums(line: &[Cell], size: usize, sums: &mut [Cell]) {
    for (window, sum) in line.windows(size).zip(sums) {
        let mut total = window[0];
        for cell in &window[1..] {
            add(&mut total, cell);
        }
        *sum = total;
    }
}

/// The sum of `size` cells of a column, the first one being cell `at`.
#[inline(always)]
fn column_sum(cells: &Cells, size: usize, at: usize) -> Cell {
    let mut total = cells[at];
    for offset in 1..size {
        add(&mut total, &cells[at + offset * SIDE]);
    }
    total
}

#[inline(always)]
fn add(total: &mut Cell, cell: &Cell) {
    for (total, &value) in total.iter_mut().zip(cell) {
        *total += value;
    }
}

/// Windows of any size, each summed separately: slow, for sizes that are not used in practice.
mod wide {
    use super::{Geometry, Power, flushed};
    use std::ops::Range;

    pub(super) fn forward(g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32]) {
        for_each_element(
            g,
            #[inline(always)]
            |i, row, column| {
                let scale = power.of(bracket(g, x, i % g.channels, row, column)).0;
                y[i] = flushed(x[i] * scale);
            },
        );
    }

    pub(super) fn backward(g: &Geometry, power: impl Power, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let (below, above) = g.reach();
        let twice = 2.0 * g.alpha_per_term() * g.beta;
        for_each_element(
            g,
            #[inline(always)]
            |i, row, column| {
                let channel = i % g.channels;
                let mut total = 0.0;
                for r in around(row, above, below, g.height) {
                    for c in around(column, above, below, g.width) {
                        let j = (r * g.width + c) * g.channels + channel;
                        let (scale, inverse) = power.of(bracket(g, x, channel, r, c));
                        total += dy[j] * x[j] * scale * inverse;
                    }
                }
                let scale = power.of(bracket(g, x, channel, row, column)).0;
                dx[i] = flushed(dy[i] * scale - twice * x[i] * total);
            },
        );
    }

    fn for_each_element(g: &Geometry, mut work: impl FnMut(usize, usize, usize)) {
        for i in 0..g.height * g.width * g.channels {
            let pixel = i / g.channels;
            work(i, pixel / g.width, pixel % g.width);
        }
    }

    fn bracket(g: &Geometry, x: &[f32], channel: usize, row: usize, column: usize) -> f32 {
        let (below, above) = g.reach();
        let mut sum = 0.0;
        for r in around(row, below, above, g.height) {
            for c in around(column, below, above, g.width) {
                let x = x[(r * g.width + c) * g.channels + channel];
                sum += x * x;
            }
        }
        g.k + g.alpha_per_term() * sum
    }

    fn around(centre: usize, before: usize, after: usize, extent: usize) -> Range<usize> {
        centre.saturating_sub(before)..extent.min(centre + after + 1)
    }
}
