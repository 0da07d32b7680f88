//! Windows across neighbouring channels. In memory the towers of all pixels are adjacent, so an
//! operand is a sequence of towers.
//!
//! Memory bound: forward reads x and writes y, backward reads x and dy and writes dx.

use super::power::Power;
use super::{Geometry, Region};
use crate::simd::flushed;

/// Channels per strip: their squares and terms fit into the L1 cache.
const STRIP: usize = 256;

/// The largest window for which the squares of a strip are stored.
const MAX_SIZE: usize = 16;

/// Channels whose sums stay in registers while a window's terms are added.
const LANES: usize = 32;

/// A strip of channels, with the margins that windows at its ends extend into.
type Strip = [f32; STRIP + 2 * (MAX_SIZE - 1)];

#[inline(always)]
pub(super) fn forward(g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32]) {
    let tower = tower(g);
    if g.size > MAX_SIZE {
        return wide::forward(g, power, x, y, tower);
    }
    let (below, _) = g.reach();
    let (alpha, k) = (g.alpha_per_term(), g.k);
    let (mut squares, mut sums): (Strip, [f32; STRIP]) = ([0.0; _], [0.0; _]);
    for (x, y) in x.chunks_exact(tower).zip(y.chunks_exact_mut(tower)) {
        for start in (0..tower).step_by(STRIP) {
            let n = STRIP.min(tower - start);
            let squares = &mut squares[..n + g.size - 1];
            let sums = &mut sums[..n];
            fill_squares(x, start as isize - below as isize, squares);
            window_sums(squares, g.size, sums);
            let (x, y) = (&x[start..][..n], &mut y[start..][..n]);
            for ((y, &x), &sum) in y.iter_mut().zip(x).zip(&*sums) {
                *y = flushed(x * power.of(k + alpha * sum).0);
            }
        }
    }
}

#[inline(always)]
pub(super) fn backward(g: &Geometry, power: impl Power, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let tower = tower(g);
    if g.size > MAX_SIZE {
        return wide::backward(g, power, x, dy, dx, tower);
    }
    let mut buffers = Buffers { squares: [0.0; _], sums: [0.0; _] };
    let towers = x.chunks_exact(tower).zip(dy.chunks_exact(tower));
    for ((x, dy), dx) in towers.zip(dx.chunks_exact_mut(tower)) {
        for start in (0..tower).step_by(STRIP) {
            backward_strip(g, power, x, dy, dx, start, &mut buffers);
        }
    }
}

struct Buffers {
    squares: Strip,
    sums: Strip,
}

#[inline(always)]
fn backward_strip(
    g: &Geometry,
    power: impl Power,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    start: usize,
    Buffers { squares, sums }: &mut Buffers,
) {
    let (below, above) = g.reach();
    let (alpha, k) = (g.alpha_per_term(), g.k);
    let n = STRIP.min(x.len() - start);
    let around = n + g.size - 1;
    // j runs over all channels whose windows contain a channel of the strip: start - above first.
    let first = start as isize - above as isize;
    let squares = &mut squares[..around + g.size - 1];
    fill_squares(x, first - below as isize, squares);
    window_sums(squares, g.size, &mut sums[..around]);

    // The squares are no longer needed: the buffer now holds the terms dy_j x_j s_j^(-beta-1),
    // which are zero outside the tower.
    let before = first.min(0).unsigned_abs();
    let from = first.max(0) as usize;
    let inside = (around - before).min(x.len() - from);
    let terms = &mut squares[..around];
    terms[..before].fill(0.0);
    terms[before + inside..].fill(0.0);
    let (x_j, dy_j) = (&x[from..][..inside], &dy[from..][..inside]);
    let powers = &mut sums[before..][..inside];
    let terms_j = &mut terms[before..][..inside];
    for (((term, power_j), &x), &dy) in terms_j.iter_mut().zip(&mut *powers).zip(x_j).zip(dy_j) {
        let (scale, inverse) = power.of(k + alpha * *power_j);
        let scaled = dy * scale;
        *term = scaled * inverse * x;
        *power_j = scaled;
    }

    let dx = &mut dx[start..][..n];
    dx.copy_from_slice(&sums[above..][..n]);
    let totals = &mut sums[..n];
    window_sums(terms, g.size, totals);
    let twice = 2.0 * alpha * g.beta;
    for ((dx, &x), &total) in dx.iter_mut().zip(&x[start..][..n]).zip(&*totals) {
        *dx = flushed(*dx - twice * x * total);
    }
}

fn tower(g: &Geometry) -> usize {
    match g.region {
        Region::AcrossChannels { towers } => (g.channels / towers).max(1),
        Region::WithinChannel => unreachable!("windows over the map are computed by `within`"),
    }
}

/// The squares of x[first..], with zeros outside of x.
#[inline(always)]
fn fill_squares(x: &[f32], first: isize, squares: &mut [f32]) {
    let before = (first.min(0).unsigned_abs()).min(squares.len());
    let from = (first.max(0) as usize).min(x.len());
    let inside = (squares.len() - before).min(x.len() - from);
    squares[..before].fill(0.0);
    squares[before + inside..].fill(0.0);
    for (square, &x) in squares[before..][..inside].iter_mut().zip(&x[from..][..inside]) {
        *square = x * x;
    }
}

/// sums[m] = values[m] + ... + values[m + size - 1], added in this order.
#[inline(always)]
pub(crate) fn window_sums(values: &[f32], size: usize, sums: &mut [f32]) {
    let n = sums.len();
    if size == 5 {
        // The paper's n = 5, in one pass.
        let part = |offset: usize| &values[offset..][..n];
        let parts = part(0).iter().zip(part(1)).zip(part(2)).zip(part(3)).zip(part(4));
        for (sum, ((((a, b), c), d), e)) in sums.iter_mut().zip(parts) {
            *sum = a + b + c + d + e;
        }
        return;
    }
    let (wide, rest) = sums.as_chunks_mut();
    let in_wide = wide.len() * LANES;
    for (idx, sums) in wide.iter_mut().enumerate() {
        *sums = sums_from::<LANES>(&values[idx * LANES..], size);
    }
    for (idx, sum) in rest.iter_mut().enumerate() {
        [*sum] = sums_from(&values[in_wide + idx..], size);
    }
}

/// The first `N` sums, kept in registers.
#[inline(always)]
fn sums_from<const N: usize>(values: &[f32], size: usize) -> [f32; N] {
    let mut sums = [0.0; N];
    sums.copy_from_slice(&values[..N]);
    for offset in 1..size {
        for (sum, &value) in sums.iter_mut().zip(&values[offset..][..N]) {
            *sum += value;
        }
    }
    sums
}

/// Windows of any size, each summed separately: slow, for sizes that are not used in practice.
mod wide {
    use super::{Geometry, Power, flushed};

    pub(super) fn forward(g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32], tower: usize) {
        for (x, y) in x.chunks_exact(tower).zip(y.chunks_exact_mut(tower)) {
            for i in 0..tower {
                y[i] = flushed(x[i] * power.of(bracket(g, x, i)).0);
            }
        }
    }

    pub(super) fn backward(
        g: &Geometry,
        power: impl Power,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        tower: usize,
    ) {
        let (below, above) = g.reach();
        let twice = 2.0 * g.alpha_per_term() * g.beta;
        let towers = x.chunks_exact(tower).zip(dy.chunks_exact(tower));
        for ((x, dy), dx) in towers.zip(dx.chunks_exact_mut(tower)) {
            for i in 0..tower {
                let mut total = 0.0;
                for j in i.saturating_sub(above)..tower.min(i + below + 1) {
                    let (scale, inverse) = power.of(bracket(g, x, j));
                    total += dy[j] * x[j] * scale * inverse;
                }
                let scaled = dy[i] * power.of(bracket(g, x, i)).0;
                dx[i] = flushed(scaled - twice * x[i] * total);
            }
        }
    }

    fn bracket(g: &Geometry, x: &[f32], j: usize) -> f32 {
        let (below, above) = g.reach();
        let window = &x[j.saturating_sub(below)..x.len().min(j + above + 1)];
        g.k + g.alpha_per_term() * window.iter().map(|x| x * x).sum::<f32>()
    }
}
