//! The fully connected layer in bf16 on the CPU: three arrangements of one product of tiles.
//!
//! w and dw are in f32, the big operand, and memory is what takes the time: so each pass goes once
//! through them, a thread rounding w a block at a time into tiles that stay in its second-level
//! cache while all images are multiplied by it. The images' side is packed before, by all threads.
//!
//! * forward: y^T = w x^T; w's rows are A as they lie, x is turned over into B
//! * dx = dy w: w's rows are pairs of k in B
//! * dw = dy^T x: both are packed before, and dw is written in place
//!
//! The floor: w read, or dw written, once from memory, or all products at AMX's peak, whichever is
//! longer.

use super::Geometry;
use crate::gemm::amx::pack::{self, Source};
use crate::gemm::amx::{Bf16, Block, DEPTH, Engine, PACKED, Ready, SIDE, Start, Sums, TILE, Tiles};
use crate::gemm::{Loop, Shared, block};
use crate::simd::flushed;
use tensor::Pool;

/// Rows of w that a thread multiplies at once in the forward pass.
const ROWS: usize = 128;
/// Columns of w that a thread packs at once for dx, and of dw that it computes at once.
const COLUMNS: usize = 512;
/// k of a block of w.
const BLOCK: usize = 512;

/// Numbers of packed panels that cover `n` rows or columns and `depth` k.
fn packed_len(n: usize, depth: usize) -> usize {
    n.div_ceil(TILE) * depth.div_ceil(DEPTH) * PACKED
}

/// Blocks of C that cover `m` rows and `n` columns.
fn blocks(m: usize, n: usize) -> usize {
    m.div_ceil(SIDE) * n.div_ceil(SIDE)
}

/// Floats that a thread works in: packed w, and sums.
fn own_len(g: &Geometry) -> usize {
    let packed = packed_len(ROWS.max(COLUMNS), BLOCK) / 2;
    packed + blocks(ROWS.max(COLUMNS), g.images) * size_of::<Sums>() / 4
}

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let forward = packed_len(g.images, g.inputs);
    let input = packed_len(g.images, g.outputs);
    let weights = packed_len(g.inputs, g.images) + packed_len(g.outputs, g.images);
    forward.max(input).max(weights) / 2 + threads * own_len(g)
}

/// Cuts scratch memory into packed numbers and what each thread works in.
fn cut(scratch: &mut [f32], packed: usize) -> (&mut [Bf16], Shared<'_>) {
    let (packed, own) = scratch.split_at_mut(packed / 2);
    (crate::gemm::amx::numbers(packed), Shared::new(own))
}

/// A thread's own memory: packed w and sums.
struct Own<'a> {
    packed: &'a mut [Bf16],
    sums: &'a mut [Sums],
}

impl Own<'_> {
    /// # Safety
    /// No other thread is `thread`, and what this gives back for it is not in use.
    unsafe fn of<'a>(all: &Shared<'a>, g: &Geometry, thread: usize) -> Own<'a> {
        // SAFETY: threads have different parts.
        let own = unsafe { all.part(thread * own_len(g)..(thread + 1) * own_len(g)) };
        let (packed, sums) = own.split_at_mut(packed_len(ROWS.max(COLUMNS), BLOCK) / 2);
        Own { packed: crate::gemm::amx::numbers(packed), sums: sums.as_chunks_mut().0 }
    }
}

/// An operand in panels of `tiles` tiles of k.
#[derive(Clone, Copy)]
struct Panels<'a> {
    numbers: &'a [Bf16],
    /// How many.
    count: usize,
    tiles: usize,
}

impl<'a> Panels<'a> {
    fn new(numbers: &'a [Bf16], n: usize, depth: usize) -> Panels<'a> {
        Panels { numbers, count: n.div_ceil(TILE), tiles: depth.div_ceil(DEPTH) }
    }

    /// Two neighbouring panels, or the last by itself, from a tile of k on.
    fn pair(&self, idx: usize, tile: usize) -> Tiles<'a> {
        let at = |panel: usize| (panel * self.tiles + tile) * PACKED;
        let second = (2 * idx + 1 < self.count).then(|| at(2 * idx + 1));
        Tiles { numbers: self.numbers, first: at(2 * idx), second, row: DEPTH }
    }
}

/// A run of `tiles` tiles of k.
fn run<'a>(ready: &Ready, a: Tiles<'a>, b: Tiles<'a>, tiles: usize, goes_on: bool, c: &mut Sums) {
    let inner = Loop { count: tiles, a: PACKED, b: PACKED };
    let start = if goes_on { Start::Sum } else { Start::Zero };
    ready.multiply(&Block { a, b, loops: [Loop::ONCE, Loop::ONCE, inner], start }, c);
}

/// Packs an operand, a panel a call.
fn pack_all(
    pool: &Pool,
    source: Source,
    (matrix, n, depth): (&[f32], usize, usize),
    packed: &mut [Bf16],
) {
    let along = matches!(source, Source::RowsOfA | Source::ColumnsOfB);
    pool.chunks(packed, depth.div_ceil(DEPTH) * PACKED, |idx, panel| {
        let (first, count) = block(n, TILE, idx);
        let (from, step) = if along { (first * depth, depth) } else { (first, n) };
        pack::panel(source, &matrix[from..], step, (count, depth), panel);
    });
}

/// `y = x w^T + b`, or the positive part of it. Sums are turned over into y when they are whole.
pub(super) fn forward(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (x, w, b): (&[f32], &[f32], &[f32]),
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let &Geometry { images, inputs, outputs, .. } = g;
    let (packed_x, own) = cut(scratch, packed_len(images, inputs));
    pack_all(pool, Source::ColumnsOfB, (x, images, inputs), packed_x);
    let x = Panels::new(packed_x, images, inputs);
    let y = Shared::new(y);
    pool.each_with_thread(outputs.div_ceil(ROWS), |chunk, thread| {
        let (ready, (first, rows)) = (engine.ready(), block(outputs, ROWS, chunk));
        // SAFETY: a thread runs one chunk at a time.
        let own = unsafe { Own::of(&own, g, thread) };
        for k in 0..inputs.div_ceil(BLOCK) {
            let (k_first, depth) = block(inputs, BLOCK, k);
            let tiles = depth.div_ceil(DEPTH);
            let panels = own.packed.chunks_exact_mut(tiles * PACKED).take(rows.div_ceil(TILE));
            for (idx, panel) in panels.enumerate() {
                let (row, count) = block(rows, TILE, idx);
                let w = &w[(first + row) * inputs + k_first..];
                pack::panel(Source::RowsOfA, w, inputs, (count, depth), panel);
            }
            let w = Panels::new(own.packed, rows, depth);
            for m in 0..rows.div_ceil(SIDE) {
                for n in 0..images.div_ceil(SIDE) {
                    let c = &mut own.sums[m * images.div_ceil(SIDE) + n];
                    run(&ready, w.pair(m, 0), x.pair(n, k * BLOCK / DEPTH), tiles, k > 0, c);
                }
            }
        }
        for n in 0..images {
            let at = n * outputs + first;
            // SAFETY: chunks have different columns of y.
            let y = unsafe { y.part(at..at + rows) };
            let sums = own.sums[n / SIDE..].iter().step_by(images.div_ceil(SIDE));
            let sums = sums.flat_map(|sums| sums[n % SIDE..].iter().step_by(SIDE));
            for ((y, sum), bias) in y.iter_mut().zip(sums).zip(&b[first..]) {
                let value = sum + bias;
                *y = if g.relu && value <= 0.0 { 0.0 } else { flushed(value) };
            }
        }
    });
}

/// `dx = dy w`.
pub(super) fn backward_input(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (dy, w): (&[f32], &[f32]),
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let &Geometry { images, inputs, outputs, .. } = g;
    let (packed_dy, own) = cut(scratch, packed_len(images, outputs));
    pack_all(pool, Source::RowsOfA, (dy, images, outputs), packed_dy);
    let dy = Panels::new(packed_dy, images, outputs);
    let dx = Shared::new(dx);
    pool.each_with_thread(inputs.div_ceil(COLUMNS), |chunk, thread| {
        let (ready, (first, columns)) = (engine.ready(), block(inputs, COLUMNS, chunk));
        // SAFETY: a thread runs one chunk at a time.
        let own = unsafe { Own::of(&own, g, thread) };
        let across = columns.div_ceil(SIDE);
        for k in 0..outputs.div_ceil(BLOCK) {
            let (k_first, depth) = block(outputs, BLOCK, k);
            let tiles = depth.div_ceil(DEPTH);
            // Tile by tile along w's rows, as they lie in memory.
            for tile in 0..tiles {
                let (row, depth) = block(depth, DEPTH, tile);
                for idx in 0..columns.div_ceil(TILE) {
                    let (column, count) = block(columns, TILE, idx);
                    let w = &w[(k_first + row) * inputs + first + column..];
                    let packed = &mut own.packed[(idx * tiles + tile) * PACKED..][..PACKED];
                    pack::panel(Source::AcrossB, w, inputs, (count, depth), packed);
                }
            }
            let w = Panels::new(own.packed, columns, depth);
            for m in 0..images.div_ceil(SIDE) {
                for n in 0..across {
                    let c = &mut own.sums[m * across + n];
                    run(&ready, dy.pair(m, k * BLOCK / DEPTH), w.pair(n, 0), tiles, k > 0, c);
                }
            }
        }
        for (idx, sums) in own.sums.iter().take(blocks(images, columns)).enumerate() {
            let (m, n) = (idx / across * SIDE, idx % across * SIDE);
            // SAFETY: chunks have different columns of dx.
            unsafe { write(sums, (m, first + n), (images, first + columns), &dx, inputs) };
        }
    });
}

/// `dw = dy^T x`: a thread has a band of columns of dw, whose panels of x stay in its cache while
/// the rows go by.
pub(super) fn backward_weights(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
    scratch: &mut [f32],
) {
    let &Geometry { images, inputs, outputs, .. } = g;
    let (packed_x, packed_dy) = (packed_len(inputs, images), packed_len(outputs, images));
    let (packed, _) = cut(scratch, packed_x + packed_dy);
    let (packed_x, packed_dy) = packed.split_at_mut(packed_x);
    pack_all(pool, Source::AcrossB, (x, inputs, images), packed_x);
    pack_all(pool, Source::AcrossA, (dy, outputs, images), packed_dy);
    let x = Panels::new(packed_x, inputs, images);
    let dy = Panels::new(packed_dy, outputs, images);
    let dw = Shared::new(dw);
    pool.each(inputs.div_ceil(COLUMNS), |chunk| {
        let (ready, (first, columns)) = (engine.ready(), block(inputs, COLUMNS, chunk));
        let mut sums = [0.0; SIDE * SIDE];
        for m in 0..outputs.div_ceil(SIDE) {
            for n in 0..columns.div_ceil(SIDE) {
                let x = x.pair(first / SIDE + n, 0);
                run(&ready, dy.pair(m, 0), x, images.div_ceil(DEPTH), false, &mut sums);
                let from = (m * SIDE, first + n * SIDE);
                // SAFETY: chunks have different columns of dw.
                unsafe { write(&sums, from, (outputs, first + columns), &dw, inputs) };
            }
        }
        pack::fence();
    });
}

/// Writes what of a block lies above and to the left of an end into rows of C.
///
/// # Safety
/// Nobody else reads or writes these elements of C meanwhile.
unsafe fn write(
    sums: &Sums,
    (m, n): (usize, usize),
    (m_end, n_end): (usize, usize),
    c: &Shared<'_>,
    row: usize,
) {
    let columns = SIDE.min(n_end - n);
    for (m, sums) in (m..m_end).zip(sums.as_chunks::<SIDE>().0) {
        let at = m * row + n;
        // SAFETY: the caller's promise goes on.
        let c = unsafe { c.part(at..at + columns) };
        match c.as_mut_array::<SIDE>() {
            Some(c) => pack::copy_past_caches(sums, c),
            None => c.copy_from_slice(&sums[..columns]),
        }
    }
}
