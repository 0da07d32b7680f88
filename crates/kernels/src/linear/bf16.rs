//! The fully connected layer in bf16 on the CPU: three arrangements of the tile product.
//!
//! w and dw are the largest operands, and memory traffic dominates. So each pass goes through them
//! once: a thread rounds a block of w into tiles that stay in its L2 cache, and multiplies all
//! images by it. The other operand is packed before, by all threads.
//!
//! * forward: y^T = w x^T; w's rows are A, in their order in memory, and x is transposed into B.
//!   [Stored weights](store_weights) are those tiles, in the order in which they are multiplied:
//!   one stream of half as many bytes.
//! * dx = dy w: w's rows are pairs of k in B
//! * dw = dy^T x: both are packed before, and dw is written in place
//!
//! Lower bound: reading w or writing dw once, or all products at AMX's peak, whichever takes
//! longer. AlexNet's three stored w have 117 MB, 4 ms at 30 GB/s.

use super::Geometry;
use crate::gemm::amx::pack::{self, PackLayout};
use crate::gemm::amx::{
    Bf16, Block, BlockSums, Configured, DEPTH, MatrixUnit, PACKED, SIDE, Start, TILE, Tiles,
    as_bf16_mut,
};
use crate::gemm::{Loop, SharedFloats, block};
use crate::operands::{
    BackwardInput, BackwardInputSlices, BackwardWeights, BackwardWeightsSlices, Forward,
    ForwardSlices,
};
use crate::simd::flushed;
use tensor::Pool;

/// Rows of w that a thread multiplies at once in the forward pass.
const ROWS: usize = 128;
/// Columns of w that a thread packs at once for dx, and of dw that it computes at once.
const COLUMNS: usize = 512;
/// k per block of w.
const BLOCK: usize = 512;

/// Elements of the packed panels that cover `n` rows or columns and `depth` k.
fn packed_len(n: usize, depth: usize) -> usize {
    n.div_ceil(TILE) * depth.div_ceil(DEPTH) * PACKED
}

/// Blocks of C that cover `m` rows and `n` columns.
fn blocks(m: usize, n: usize) -> usize {
    m.div_ceil(SIDE) * n.div_ceil(SIDE)
}

/// Floats of a thread's buffers: packed w, and sums.
fn own_len(g: &Geometry) -> usize {
    let packed = packed_len(ROWS.max(COLUMNS), BLOCK) / 2;
    packed + blocks(ROWS.max(COLUMNS), g.images) * size_of::<BlockSums>() / 4
}

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let forward = packed_len(g.images, g.inputs);
    let input = packed_len(g.images, g.outputs);
    let weights = packed_len(g.inputs, g.images) + packed_len(g.outputs, g.images);
    forward.max(input).max(weights) / 2 + threads * own_len(g)
}

/// Splits scratch memory into packed elements and the threads' buffers.
fn split_scratch(scratch: &mut [f32], packed: usize) -> (&mut [Bf16], SharedFloats<'_>) {
    let (packed, own) = scratch.split_at_mut(packed / 2);
    (as_bf16_mut(packed), SharedFloats::new(own))
}

/// A thread's buffers: packed w and sums.
struct ThreadBuffers<'a> {
    packed: &'a mut [Bf16],
    sums: &'a mut [BlockSums],
}

impl ThreadBuffers<'_> {
    /// # Safety
    /// No other thread has the index `thread`, and no buffers of this thread are in use.
    unsafe fn of<'a>(all: &SharedFloats<'a>, g: &Geometry, thread: usize) -> ThreadBuffers<'a> {
        // SAFETY: threads have different parts.
        let own = unsafe { all.part(thread * own_len(g)..(thread + 1) * own_len(g)) };
        let (packed, sums) = own.split_at_mut(packed_len(ROWS.max(COLUMNS), BLOCK) / 2);
        ThreadBuffers { packed: as_bf16_mut(packed), sums: sums.as_chunks_mut().0 }
    }
}

/// Where the forward pass reads w.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weights<'a> {
    /// `[outputs][inputs]`; they are rounded in each pass.
    Rows(&'a [f32]),
    /// In bf16, written by [`store_weights`].
    Stored(&'a [Bf16]),
}

impl<'a> Weights<'a> {
    /// Some rows and k, the block `k` of chunk `chunk`, as pairs of panels: `[pair][tile][panel]`.
    /// They are packed into `buffer`, unless they are stored.
    fn block(self, g: &Geometry, [chunk, k]: [usize; 2], buffer: &'a mut [Bf16]) -> &'a [Bf16] {
        let ((_, rows), (k_first, depth)) =
            (block(g.outputs, ROWS, chunk), block(g.inputs, BLOCK, k));
        let len = packed_len(rows, depth);
        match self {
            Weights::Rows(w) => {
                pack_weights(g, w, [chunk, k], &mut buffer[..len]);
                &buffer[..len]
            }
            Weights::Stored(w) => {
                let first = packed_len(chunk * ROWS, g.inputs) + packed_len(rows, k_first);
                &w[first..first + len]
            }
        }
    }
}

/// Packs a block of w.
fn pack_weights(g: &Geometry, w: &[f32], [chunk, k]: [usize; 2], packed: &mut [Bf16]) {
    let ((first, rows), (k_first, depth)) =
        (block(g.outputs, ROWS, chunk), block(g.inputs, BLOCK, k));
    let tiles = depth.div_ceil(DEPTH);
    for (pair, packed) in packed.chunks_mut(2 * tiles * PACKED).enumerate() {
        let panels = packed.len() / (tiles * PACKED);
        for (at, packed) in packed.chunks_exact_mut(PACKED).enumerate() {
            let (tile, panel) = (at / panels, at % panels);
            let (row, count) = block(rows, TILE, 2 * pair + panel);
            let (column, depth) = block(depth, DEPTH, tile);
            let w = &w[(first + row) * g.inputs + k_first + column..];
            pack::panel(PackLayout::RowsOfA, w, g.inputs, count, depth, packed);
        }
    }
}

/// Elements of stored weights.
pub(super) fn stored_len(g: &Geometry) -> usize {
    packed_len(g.outputs, g.inputs)
}

/// Rounds w to bf16 and packs it in the order in which [`forward`] reads it: `[chunk of rows][block
/// of k][pair of panels][tile along k][panel][row][k]`.
pub(super) fn store_weights(pool: &Pool, g: &Geometry, w: &[f32], stored: &mut [Bf16]) {
    pool.chunks(stored, packed_len(ROWS, g.inputs), |chunk, mut rest| {
        let rows = block(g.outputs, ROWS, chunk).1;
        for k in 0..g.inputs.div_ceil(BLOCK) {
            let len = packed_len(rows, block(g.inputs, BLOCK, k).1);
            let packed;
            (packed, rest) = rest.split_at_mut(len);
            pack_weights(g, w, [chunk, k], packed);
        }
    });
}

/// An operand in panels, each of `tiles` tiles along k.
#[derive(Clone, Copy)]
struct Panels<'a> {
    elements: &'a [Bf16],
    /// Number of panels.
    count: usize,
    tiles: usize,
}

impl<'a> Panels<'a> {
    fn new(elements: &'a [Bf16], n: usize, depth: usize) -> Panels<'a> {
        Panels { elements, count: n.div_ceil(TILE), tiles: depth.div_ceil(DEPTH) }
    }

    /// Two neighbouring panels, or a last single one, starting at a tile along k.
    fn pair(&self, idx: usize, tile: usize) -> Tiles<'a> {
        let at = |panel: usize| (panel * self.tiles + tile) * PACKED;
        let second = (2 * idx + 1 < self.count).then(|| at(2 * idx + 1));
        Tiles { elements: self.elements, first: at(2 * idx), second, row: DEPTH }
    }
}

/// Tiles along k that are adjacent in both operands.
fn adjacent(tiles: usize) -> Loop {
    Loop { count: tiles, a: PACKED, b: PACKED }
}

/// Multiplies tiles along k.
fn run<'a>(
    configured: &Configured,
    a: Tiles<'a>,
    b: Tiles<'a>,
    inner: Loop,
    goes_on: bool,
    c: &mut BlockSums,
) {
    configured.multiply(&along_k(a, b, inner, goes_on), c);
}

/// The operands of [`run`].
fn along_k<'a>(a: Tiles<'a>, b: Tiles<'a>, inner: Loop, goes_on: bool) -> Block<'a> {
    let start = if goes_on { Start::Sum } else { Start::Zero };
    Block { a, b, loops: [Loop::ONCE, Loop::ONCE, inner], start }
}

/// Packs an operand of `n` rows or columns, panel by panel.
fn pack_all(
    pool: &Pool,
    source: PackLayout,
    matrix: &[f32],
    n: usize,
    depth: usize,
    packed: &mut [Bf16],
) {
    let along = matches!(source, PackLayout::RowsOfA | PackLayout::ColumnsOfB);
    pool.chunks(packed, depth.div_ceil(DEPTH) * PACKED, |idx, panel| {
        let (first, count) = block(n, TILE, idx);
        let (from, step) = if along { (first * depth, depth) } else { (first, n) };
        pack::panel(source, &matrix[from..], step, count, depth, panel);
    });
}

/// `y = x w^T + b`, with an optional ReLU. Complete sums are transposed into y. `w` replaces the
/// operands' w.
pub(super) fn forward(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    w: Weights<'_>,
    Forward { x, b, y, scratch, .. }: ForwardSlices<'_>,
) {
    let &Geometry { images, inputs, outputs, .. } = g;
    let (packed_x, own) = split_scratch(scratch, packed_len(images, inputs));
    pack_all(pool, PackLayout::ColumnsOfB, x, images, inputs, packed_x);
    let x = Panels::new(packed_x, images, inputs);
    let y = SharedFloats::new(y);
    pool.each_with_thread(outputs.div_ceil(ROWS), |chunk, thread| {
        let (configured, (first, rows)) = (unit.configure(), block(outputs, ROWS, chunk));
        // SAFETY: a thread runs one chunk at a time.
        let own = unsafe { ThreadBuffers::of(&own, g, thread) };
        for k in 0..inputs.div_ceil(BLOCK) {
            let tiles = block(inputs, BLOCK, k).1.div_ceil(DEPTH);
            let is_stored = matches!(w, Weights::Stored(_));
            let w = w.block(g, [chunk, k], own.packed);
            for (m, w) in w.chunks(2 * tiles * PACKED).enumerate() {
                let panels = w.len() / (tiles * PACKED);
                let second = (panels > 1).then_some(PACKED);
                let w = Tiles { elements: w, first: 0, second, row: DEPTH };
                let inner = Loop { count: tiles, a: panels * PACKED, b: PACKED };
                for n in 0..images.div_ceil(SIDE) {
                    let c = &mut own.sums[m * images.div_ceil(SIDE) + n];
                    let block = along_k(w, x.pair(n, k * BLOCK / DEPTH), inner, k > 0);
                    // Later images find stored weights in the L2 cache.
                    if is_stored && n == 0 {
                        configured.multiply_stream(&block, c);
                    } else {
                        configured.multiply(&block, c);
                    }
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
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    BackwardInput { dy, w, dx, scratch }: BackwardInputSlices<'_>,
) {
    let &Geometry { images, inputs, outputs, .. } = g;
    let (packed_dy, own) = split_scratch(scratch, packed_len(images, outputs));
    pack_all(pool, PackLayout::RowsOfA, dy, images, outputs, packed_dy);
    let dy = Panels::new(packed_dy, images, outputs);
    let dx = SharedFloats::new(dx);
    pool.each_with_thread(inputs.div_ceil(COLUMNS), |chunk, thread| {
        let (configured, (first, columns)) = (unit.configure(), block(inputs, COLUMNS, chunk));
        // SAFETY: a thread runs one chunk at a time.
        let own = unsafe { ThreadBuffers::of(&own, g, thread) };
        let across = columns.div_ceil(SIDE);
        for k in 0..outputs.div_ceil(BLOCK) {
            let (k_first, depth) = block(outputs, BLOCK, k);
            let tiles = depth.div_ceil(DEPTH);
            // Tile by tile along w's rows, in their order in memory.
            for tile in 0..tiles {
                let (row, depth) = block(depth, DEPTH, tile);
                for idx in 0..columns.div_ceil(TILE) {
                    let (column, count) = block(columns, TILE, idx);
                    let w = &w[(k_first + row) * inputs + first + column..];
                    let packed = &mut own.packed[(idx * tiles + tile) * PACKED..][..PACKED];
                    pack::panel(PackLayout::AcrossB, w, inputs, count, depth, packed);
                }
            }
            let w = Panels::new(own.packed, columns, depth);
            for m in 0..images.div_ceil(SIDE) {
                for n in 0..across {
                    let c = &mut own.sums[m * across + n];
                    let dy = dy.pair(m, k * BLOCK / DEPTH);
                    run(&configured, dy, w.pair(n, 0), adjacent(tiles), k > 0, c);
                }
            }
        }
        for (idx, sums) in own.sums.iter().take(blocks(images, columns)).enumerate() {
            let (m, n) = (idx / across * SIDE, idx % across * SIDE);
            // SAFETY: chunks have different columns of dx.
            unsafe { write(sums, [m, first + n], [images, first + columns], &dx, inputs) };
        }
    });
}

/// `dw = dy^T x`: a thread computes a band of columns of dw. The band's panels of x stay in its
/// cache during the loop over dy's rows.
pub(super) fn backward_weights(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    BackwardWeights { x, dy, dw, db, scratch }: BackwardWeightsSlices<'_>,
) {
    super::sum_rows(pool, dy, db);
    let &Geometry { images, inputs, outputs, .. } = g;
    let (packed_x, packed_dy) = (packed_len(inputs, images), packed_len(outputs, images));
    let (packed, _) = split_scratch(scratch, packed_x + packed_dy);
    let (packed_x, packed_dy) = packed.split_at_mut(packed_x);
    pack_all(pool, PackLayout::AcrossB, x, inputs, images, packed_x);
    pack_all(pool, PackLayout::AcrossA, dy, outputs, images, packed_dy);
    let x = Panels::new(packed_x, inputs, images);
    let dy = Panels::new(packed_dy, outputs, images);
    let dw = SharedFloats::new(dw);
    pool.each(inputs.div_ceil(COLUMNS), |chunk| {
        let (configured, (first, columns)) = (unit.configure(), block(inputs, COLUMNS, chunk));
        let mut sums = [0.0; SIDE * SIDE];
        for m in 0..outputs.div_ceil(SIDE) {
            for n in 0..columns.div_ceil(SIDE) {
                let x = x.pair(first / SIDE + n, 0);
                let inner = adjacent(images.div_ceil(DEPTH));
                run(&configured, dy.pair(m, 0), x, inner, false, &mut sums);
                let from = [m * SIDE, first + n * SIDE];
                // SAFETY: chunks have different columns of dw.
                unsafe { write(&sums, from, [outputs, first + columns], &dw, inputs) };
            }
        }
        pack::fence();
    });
}

/// Writes a block's sums to C, whose rows are `row` floats apart. The block starts at row and
/// column `from`; sums at or beyond row or column `end` are dropped.
///
/// # Safety
/// No other thread reads or writes these elements of C at the same time.
unsafe fn write(
    sums: &BlockSums,
    [m, n]: [usize; 2],
    [m_end, n_end]: [usize; 2],
    c: &SharedFloats<'_>,
    row: usize,
) {
    let columns = SIDE.min(n_end - n);
    for (m, sums) in (m..m_end).zip(sums.as_chunks::<SIDE>().0) {
        let at = m * row + n;
        // SAFETY: as the caller guarantees.
        let c = unsafe { c.part(at..at + columns) };
        match c.as_mut_array::<SIDE>() {
            Some(c) => pack::copy_past_caches(sums, c),
            None => c.copy_from_slice(&sums[..columns]),
        }
    }
}
