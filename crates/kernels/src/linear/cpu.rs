//! The fully connected layer on the CPU. Its three passes use the register tile of `gemm`, C = A B,
//! with different operands; the forward pass of a few images uses [another algorithm](few_images).
//!
//! w is the largest operand, so each pass reads w, or writes dw, only once:
//!
//! * forward: y^T = w x^T. A is w, read in place.
//! * dx = dy w. B is w: threads pack blocks of it into panels that stay in the L2 cache.
//! * dw = dy^T x. dy and x are packed, and dw is written in place.
//!
//! Lower bound of a pass's time: reading w or writing dw once, or its operations (two per
//! multiply-add) at the processor's peak, whichever takes longer.

use super::{Geometry, bf16, few_images};
use crate::gemm::amx::MatrixUnit;
use crate::gemm::{
    Isa, Layout, Loop, SharedFloats, Start, Tile, block, copy_rows, transpose_panel,
};
use crate::operands::{
    BackwardInput, BackwardInputSlices, BackwardWeights, BackwardWeightsSlices, Forward,
    ForwardSlices,
};
use crate::per_channel::{RUN, sum_columns};
use crate::simd::flushed;
use tensor::{Bf16, Cpu, DType, Pool, Precision, Slot};

/// Length of a block of k (the index that is summed over) in the forward pass: four panels of a
/// block fit into the L2 cache with room to spare.
const DEPTH: usize = 512;
/// Rows of w per task of the forward pass.
const ROWS: usize = 64;
/// Columns of dx, and of w, per task.
const SPAN: usize = 256;
/// Rows of w that a thread packs at once for dx: the length of a block of k.
const SPAN_DEPTH: usize = 256;
/// Columns of dw per task.
const BAND: usize = 512;
/// Images per block of the sum for dw: the length of a block of k.
const BAND_DEPTH: usize = 256;

pub(super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let width = Isa::best().columns();
    let padded_images = g.images.next_multiple_of(width);
    let forward = padded_images * (g.inputs + g.outputs);
    let backward_input = threads * SPAN * SPAN_DEPTH;
    let backward_weights = g.images * (g.inputs.next_multiple_of(width) + g.outputs);
    forward.max(backward_input).max(backward_weights)
}

/// A full tile whose sums run over `depth` adjacent k; the caller sets its place in C.
fn tile<'a>(
    isa: Isa,
    a: &'a [f32],
    layout: Layout,
    b: &'a [f32],
    depth: usize,
    start: Start<'a>,
) -> Tile<'a> {
    Tile {
        rows: isa.rows(),
        columns: isa.columns(),
        a,
        layout,
        b,
        outer: Loop::ONCE,
        middle: Loop::ONCE,
        inner: depth,
        c: 0,
        c_row: 0,
        start,
        relu: false,
        last: false,
    }
}

/// Sums start at zero in the first block of k, and continue in the others.
fn start<'a>(block: usize) -> Start<'a> {
    if block == 0 { Start::Zero } else { Start::Sum }
}

pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, operands: Forward) {
    let Forward { x, w, b, y, scratch } = operands;
    let (precision, dtype) = (cpu.precision(), w.dtype());
    let (lent, pool) = cpu.lend_with_pool([x, w, b, y, scratch]);
    let [x, w, b, y, scratch] = lent;
    let (x, b): (&mut [f32], &mut [f32]) = (x.into(), b.into());
    let operands = Forward { x: &*x, w: &[][..], b: &*b, y: y.into(), scratch: scratch.into() };
    if dtype == DType::Bf16 {
        let w: &mut [Bf16] = w.into();
        return bf16::forward(MatrixUnit::best(), pool, g, bf16::Weights::Stored(w), operands);
    }
    let w: &mut [f32] = w.into();
    let operands = Forward { w: &*w, ..operands };
    match (precision, few_images::suits(g)) {
        (Precision::Bf16, _) => {
            bf16::forward(MatrixUnit::best(), pool, g, bf16::Weights::Rows(w), operands)
        }
        (_, true) => few_images::forward(pool, g, operands),
        (_, false) => forward_with(Isa::best(), pool, g, operands),
    }
}

/// Stores w for [`forward`] in bf16.
pub(super) fn store_weights(cpu: &mut Cpu, g: &Geometry, w: &[f32], stored: Slot) {
    let ([stored], pool) = cpu.lend_with_pool([stored]);
    bf16::store_weights(pool, g, w, stored.into());
}

/// y^T = w x^T, in tiles of w's rows by panels of images. Each task then transposes its rows of y^T
/// into y, and adds the bias and applies the ReLU on the way.
pub(super) fn forward_with(isa: Isa, pool: &Pool, g: &Geometry, operands: ForwardSlices<'_>) {
    let Forward { x, w, b, y, scratch } = operands;
    let (images, inputs, outputs, width) = (g.images, g.inputs, g.outputs, isa.columns());
    let panels = images.div_ceil(width);
    let padded_images = panels * width;
    let (x_panels, y_t) = scratch.split_at_mut(padded_images * inputs);
    pack_images(pool, g, x, x_panels, width);

    let (x_panels, y) = (&*x_panels, SharedFloats::new(y));
    pool.chunks(&mut y_t[..outputs * padded_images], ROWS * padded_images, |task, y_t| {
        let (first, rows) = block(outputs, ROWS, task);
        let c = SharedFloats::new(y_t);
        for k in 0..inputs.div_ceil(DEPTH) {
            let (k_first, depth) = block(inputs, DEPTH, k);
            for (row, rows) in isa.split(rows).iter() {
                let a = &w[(first + row) * inputs + k_first..];
                for panel in 0..panels {
                    let at = k_first * padded_images + panel * depth * width;
                    let packed = &x_panels[at..at + depth * width];
                    let columns = width.min(images - panel * width);
                    let c_first = row * padded_images + panel * width;
                    let tile = tile(isa, a, Layout::Rows(inputs), packed, depth, start(k));
                    let tile = Tile { rows, columns, c: c_first, c_row: padded_images, ..tile };
                    // SAFETY: these rows of y^T are this task's chunk.
                    unsafe { isa.tile(&tile, &c) };
                }
            }
        }
        let bias = &b[first..first + rows];
        for n in 0..images {
            let at = n * outputs + first;
            // SAFETY: tasks write different columns of y.
            let y = unsafe { y.part(at..at + rows) };
            let column = y_t[n..].iter().step_by(padded_images);
            for ((y, sum), bias) in y.iter_mut().zip(column).zip(bias) {
                let value = sum + bias;
                *y = if g.relu && value <= 0.0 { 0.0 } else { flushed(value) };
            }
        }
    });
}

/// Packs x^T into panels, in this order: blocks of k, and within each, panels of images.
fn pack_images(pool: &Pool, g: &Geometry, x: &[f32], panels: &mut [f32], width: usize) {
    let padded_images = g.images.next_multiple_of(width);
    pool.chunks(panels, padded_images * DEPTH, |k, panels| {
        let (k_first, depth) = block(g.inputs, DEPTH, k);
        for (idx, panel) in panels.chunks_exact_mut(depth * width).enumerate() {
            let first = idx * width;
            let columns = width.min(g.images - first);
            transpose_panel(&x[first * g.inputs + k_first..], g.inputs, columns, width, panel);
        }
    });
}

pub(super) fn backward_input(cpu: &mut Cpu, g: &Geometry, operands: BackwardInput) {
    let BackwardInput { dy, w, dx, scratch } = operands;
    let precision = cpu.precision();
    let ([dy, w, dx, scratch], pool) = cpu.floats_with_pool([dy, w, dx, scratch]);
    let operands = BackwardInput { dy: &*dy, w: &*w, dx, scratch };
    match precision {
        Precision::Bf16 => bf16::backward_input(MatrixUnit::best(), pool, g, operands),
        _ => backward_input_with(Isa::best(), pool, g, operands),
    }
}

/// dx = dy w. A task computes a range of columns of dx; its thread packs those columns of w, block
/// by block. Rows of dy are read in place.
pub(super) fn backward_input_with(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    BackwardInput { dy, w, dx, scratch }: BackwardInputSlices<'_>,
) {
    let (inputs, outputs, width) = (g.inputs, g.outputs, isa.columns());
    let (dx, scratch) = (SharedFloats::new(dx), SharedFloats::new(scratch));
    pool.each_with_thread(inputs.div_ceil(SPAN), |task, thread| {
        let (first, span) = block(inputs, SPAN, task);
        let own = thread * SPAN * SPAN_DEPTH..(thread + 1) * SPAN * SPAN_DEPTH;
        // SAFETY: each thread has its own part of the scratch memory.
        let packed = unsafe { scratch.part(own) };
        let blocks = outputs.div_ceil(SPAN_DEPTH);
        for k in 0..blocks {
            let (k_first, depth) = block(outputs, SPAN_DEPTH, k);
            let panels = packed.chunks_exact_mut(depth * width).take(span.div_ceil(width));
            for (idx, panel) in panels.enumerate() {
                let columns = width.min(span - idx * width);
                let rows = &w[k_first * inputs + first + idx * width..];
                copy_rows(rows, inputs, columns, width, panel);
            }
            for (row, rows) in isa.split(g.images).iter() {
                let a = &dy[row * outputs + k_first..];
                for (idx, panel) in
                    packed.chunks_exact(depth * width).take(span.div_ceil(width)).enumerate()
                {
                    let columns = width.min(span - idx * width);
                    let c = row * inputs + first + idx * width;
                    let tile = tile(isa, a, Layout::Rows(outputs), panel, depth, start(k));
                    let last = k + 1 == blocks;
                    let tile = Tile { rows, columns, c, c_row: inputs, last, ..tile };
                    // SAFETY: tasks write different columns of dx.
                    unsafe { isa.tile(&tile, &dx) };
                }
            }
        }
    });
}

pub(super) fn backward_weights(cpu: &mut Cpu, g: &Geometry, operands: BackwardWeights) {
    let BackwardWeights { x, dy, dw, db, scratch } = operands;
    let precision = cpu.precision();
    let ([x, dy, dw, db, scratch], pool) = cpu.floats_with_pool([x, dy, dw, db, scratch]);
    let operands = BackwardWeights { x: &*x, dy: &*dy, dw, db, scratch };
    match precision {
        Precision::Bf16 => bf16::backward_weights(MatrixUnit::best(), pool, g, operands),
        _ => backward_weights_with(Isa::best(), pool, g, operands),
    }
}

/// dw = dy^T x, and db. x and dy are packed first; then each task computes a band of columns of dw.
/// The band's panels of x stay in the cache during the loop over rows of dw.
pub(super) fn backward_weights_with(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    BackwardWeights { x, dy, dw, db, scratch }: BackwardWeightsSlices<'_>,
) {
    sum_rows(pool, dy, db);
    let (images, inputs, outputs, width) = (g.images, g.inputs, g.outputs, isa.columns());
    let padded_inputs = inputs.next_multiple_of(width);
    let (x_panels, dy_tiles) = scratch.split_at_mut(images * padded_inputs);
    let row_tiles = isa.split(outputs);
    pool.chunks(&mut x_panels[..], images * width, |idx, panel| {
        let columns = width.min(inputs - idx * width);
        copy_rows(&x[idx * width..], inputs, columns, width, panel);
    });
    let tiles = SharedFloats::new(&mut dy_tiles[..images * outputs]);
    pool.each(row_tiles.parts, |idx| {
        let (first, rows) = row_tiles.part(idx);
        // SAFETY: tiles do not overlap.
        let tile = unsafe { tiles.part(first * images..(first + rows) * images) };
        copy_rows(&dy[first..], outputs, rows, rows, tile);
    });

    let (x_panels, dy_tiles, dw) = (&*x_panels, &*dy_tiles, SharedFloats::new(dw));
    pool.each(inputs.div_ceil(BAND), |task| {
        let (first, band) = block(inputs, BAND, task);
        let blocks = images.div_ceil(BAND_DEPTH);
        for n in 0..blocks {
            let (n_first, depth) = block(images, BAND_DEPTH, n);
            for (row, rows) in row_tiles.iter() {
                let a = &dy_tiles[row * images + n_first * rows..];
                for idx in 0..band.div_ceil(width) {
                    let column = first + idx * width;
                    let columns = width.min(inputs - column);
                    let panel = &x_panels[column * images + n_first * width..];
                    let tile = tile(isa, a, Layout::Columns(rows), panel, depth, start(n));
                    let c = row * inputs + column;
                    let last = n + 1 == blocks;
                    let tile = Tile { rows, columns, c, c_row: inputs, last, ..tile };
                    // SAFETY: tasks write different columns of dw.
                    unsafe { isa.tile(&tile, &dw) };
                }
            }
        }
    });
}

/// `sums[o]` = the sum of `rows[n][o]` over n, in f64, in ascending order of n.
pub(crate) fn sum_rows(pool: &Pool, rows: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    pool.chunks(sums, RUN, |idx, sums| sum_columns(rows, width, idx * RUN, sums));
}
