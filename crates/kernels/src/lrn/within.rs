//! Windows over the pixels of one channel: tiles of the map, 16 channels at a time, whose sums are
//! taken along rows and then along columns, in place.

use super::Geometry;
use super::power::Power;

/// Channels at a time: a cache line.
const LANES: usize = 16;

/// Rows and columns of a tile.
const TILE: usize = 32;

/// Windows up to this size have their squares laid out in a tile.
const MAX_SIZE: usize = 9;

/// Rows and columns of a tile and of what windows at its edges reach on both sides.
const SIDE: usize = TILE + 2 * (MAX_SIZE - 1);

type Cell = [f32; LANES];

/// The tile of one image that starts at pixel (`top`, `left`) and channel `channel`.
struct Tile<'a> {
    g: &'a Geometry,
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    channel: usize,
    lanes: usize,
}

#[inline(always)]
pub(super) fn forward(g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32]) {
    if g.size > MAX_SIZE {
        return wide::forward(g, power, x, y);
    }
    let (below, _) = g.reach();
    let (alpha, k) = (g.alpha_per_term(), g.k);
    let mut cells = [[0.0; LANES]; SIDE * SIDE];
    for_each_tile(
        g,
        #[inline(always)]
        |tile| {
            let (rows, columns) = (tile.height, tile.width);
            tile.fill_squares(x, below, (rows + g.size - 1, columns + g.size - 1), &mut cells);
            window_sums(&mut cells, g.size, (rows, columns));
            for row in 0..rows {
                for column in 0..columns {
                    let place = tile.place(row, column);
                    let (x, y) = (&x[place..][..tile.lanes], &mut y[place..][..tile.lanes]);
                    for ((y, &x), &sum) in y.iter_mut().zip(x).zip(&cells[row * SIDE + column]) {
                        *y = x * power.of(k + alpha * sum).0;
                    }
                }
            }
        },
    );
}

#[inline(always)]
pub(super) fn backward(g: &Geometry, power: impl Power, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    if g.size > MAX_SIZE {
        return wide::backward(g, power, x, dy, dx);
    }
    let (below, above) = g.reach();
    let twice = 2.0 * g.alpha_per_term() * g.beta;
    let mut cells = [[0.0; LANES]; SIDE * SIDE];
    for_each_tile(
        g,
        #[inline(always)]
        |tile| {
            // All pixels whose windows hold one of the tile's: from (top - above, left - above) on.
            let (rows, columns) = (tile.height + g.size - 1, tile.width + g.size - 1);
            let reached = (rows + g.size - 1, columns + g.size - 1);
            tile.fill_squares(x, below + above, reached, &mut cells);
            window_sums(&mut cells, g.size, (rows, columns));
            for row in 0..rows {
                for column in 0..columns {
                    let cell = &mut cells[row * SIDE + column];
                    tile.fill_terms(power, x, dy, dx, (row, column), cell);
                }
            }
            window_sums(&mut cells, g.size, (tile.height, tile.width));
            for row in 0..tile.height {
                for column in 0..tile.width {
                    let place = tile.place(row, column);
                    let (x, dx) = (&x[place..][..tile.lanes], &mut dx[place..][..tile.lanes]);
                    for ((dx, &x), &total) in dx.iter_mut().zip(x).zip(&cells[row * SIDE + column])
                    {
                        *dx -= twice * x * total;
                    }
                }
            }
        },
    );
}

#[inline(always)]
fn for_each_tile(g: &Geometry, mut work: impl FnMut(Tile)) {
    for channel in (0..g.channels).step_by(LANES) {
        for top in (0..g.height).step_by(TILE) {
            for left in (0..g.width).step_by(TILE) {
                let (height, width) = (TILE.min(g.height - top), TILE.min(g.width - left));
                let lanes = LANES.min(g.channels - channel);
                work(Tile { g, top, left, height, width, channel, lanes });
            }
        }
    }
}

impl Tile<'_> {
    /// Where the tile's pixel lies in the image.
    #[inline(always)]
    fn place(&self, row: usize, column: usize) -> usize {
        ((self.top + row) * self.g.width + self.left + column) * self.g.channels + self.channel
    }

    /// Squares from `reach` pixels above and left of the tile on; zeros outside the map.
    #[inline(always)]
    fn fill_squares(
        &self,
        x: &[f32],
        reach: usize,
        (rows, columns): (usize, usize),
        cells: &mut [Cell],
    ) {
        for row in 0..rows {
            for column in 0..columns {
                let cell = &mut cells[row * SIDE + column];
                *cell = [0.0; LANES];
                if let Some(place) = self.place_around(row, column, reach) {
                    for (square, &x) in cell.iter_mut().zip(&x[place..][..self.lanes]) {
                        *square = x * x;
                    }
                }
            }
        }
    }

    /// Turns a window's sum of squares into dy_j x_j s_j^(-beta-1), zero outside the map, and
    /// starts dx with dy s^-beta.
    #[inline(always)]
    fn fill_terms(
        &self,
        power: impl Power,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        (row, column): (usize, usize),
        cell: &mut Cell,
    ) {
        let (_, above) = self.g.reach();
        let (alpha, k) = (self.g.alpha_per_term(), self.g.k);
        let Some(place) = self.place_around(row, column, above) else {
            *cell = [0.0; LANES];
            return;
        };
        let mut scaled = [0.0; LANES];
        let (x, dy) = (&x[place..][..self.lanes], &dy[place..][..self.lanes]);
        for (((cell, scaled), &x), &dy) in cell.iter_mut().zip(&mut scaled).zip(x).zip(dy) {
            let (scale, inverse) = power.of(k + alpha * *cell);
            *scaled = dy * scale;
            *cell = *scaled * inverse * x;
        }
        let in_tile = |at: usize, extent: usize| at >= above && at < above + extent;
        if in_tile(row, self.height) && in_tile(column, self.width) {
            dx[place..][..self.lanes].copy_from_slice(&scaled[..self.lanes]);
        }
    }

    /// Where a pixel lies that is counted from `reach` pixels above and left of the tile.
    #[inline(always)]
    fn place_around(&self, row: usize, column: usize, reach: usize) -> Option<usize> {
        let y = (self.top + row).checked_sub(reach).filter(|&y| y < self.g.height)?;
        let x = (self.left + column).checked_sub(reach).filter(|&x| x < self.g.width)?;
        Some((y * self.g.width + x) * self.g.channels + self.channel)
    }
}

/// cells[row][column] <- the sum over the `size` x `size` cells from there on, in place.
#[inline(always)]
fn window_sums(cells: &mut [Cell], size: usize, (rows, columns): (usize, usize)) {
    let add = |cells: &mut [Cell], at: usize, step: usize| {
        let mut sum = cells[at];
        for offset in 1..size {
            let other = &cells[at + offset * step];
            (0..LANES).for_each(|lane| sum[lane] += other[lane]);
        }
        cells[at] = sum;
    };
    for row in 0..rows + size - 1 {
        (0..columns).for_each(|column| add(cells, row * SIDE + column, 1));
    }
    for row in 0..rows {
        (0..columns).for_each(|column| add(cells, row * SIDE + column, SIDE));
    }
}

/// Windows of any size, summed one by one: nobody trains with these, but they are right.
mod wide {
    use super::{Geometry, Power};
    use std::ops::Range;

    pub(super) fn forward(g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32]) {
        for_each_element(
            g,
            #[inline(always)]
            |i, row, column| {
                y[i] = x[i] * power.of(bracket(g, x, i % g.channels, row, column)).0;
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
                dx[i] = dy[i] * scale - twice * x[i] * total;
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
