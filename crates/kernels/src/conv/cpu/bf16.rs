//! The convolution in bf16 on the CPU: direct, with AMX tiles.
//!
//! A tile's rows are neighbouring output pixels, whose windows are at a regular distance, as in
//! [`direct`](super::direct). A thread rounds the parts of a few images that its outputs cover to
//! bf16, padded with zeros ([`padded`]), and multiplies from there, without im2col. k runs over the
//! window's rows, and in each over its pixels and their channels, padded to whole tiles.
//!
//! Lower bound: at AMX's peak, a forward pass of AlexNet's five layers on 128 images takes 25 ms of
//! two cores. Partly filled tiles take a seventh more; in conv1, whose rows of 33 k need two tiles,
//! twice as much, were it not for [interleaved rows](interleave). Winograd's algorithm is not used:
//! its transforms would take longer than it saves.

mod band;
mod filter;
mod interleave;
mod padded;
mod pieces;
mod rectify;

pub(in super::super) use filter::backward_filter;

use super::super::Geometry;
use super::direct::{self, Direct};
use super::{PackedOperands, Phase, as_direct, phases};
use crate::gemm::amx::pack::{self, PackLayout};
use crate::gemm::amx::{
    Bf16, Block, Configured, DEPTH, MatrixUnit, PACKED, SIDE, Start, TILE, Tiles, as_bf16,
    as_bf16_mut,
};
use crate::gemm::{Loop, Shared};
use crate::operands::{BackwardInput, BackwardInputSlices, Forward, ForwardSlices};
use crate::value::Value;
use crate::{prefetch, simd};
use padded::{Lines, PaddedImage};
use rectify::{Aligned, rectify};
use std::ops::Range;
use tensor::Pool;

/// The number of chunks that keeps all threads busy to the end, and the elements of images that a
/// chunk multiplies by each pair of panels: few enough to stay in the L2 cache.
const CHUNKS: usize = 16;
const CHUNK_ELEMENTS: usize = 256 << 10;

/// Floats of scratch memory that suffice for each of the three passes, and with packed filters.
pub(in super::super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let whole = |direct: Direct| {
        let plan = TilePlan::new(&direct);
        plan.filters_len() + plan.work_len(threads)
    };
    let input = phases(g).map(|phase| whole(phase.direct)).max().unwrap_or(0);
    whole(as_direct(g)).max(input).max(filter::scratch(g, threads))
}

/// bf16 elements of the filters that [`store_weights`] writes.
pub(in super::super) fn stored_len(g: &Geometry) -> usize {
    2 * TilePlan::new(&as_direct(g)).filters_len()
}

/// `y = conv(x, w) + b`.
pub(in super::super) fn forward(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    operands: ForwardSlices<'_>,
) {
    let Forward { x: source, w, b, y: target, scratch } = operands;
    let (packed, work) = super::split(scratch, stored_len(g) / 2);
    store_weights(pool, g, w, as_bf16_mut(packed));
    let (filters, bias) = (as_bf16(packed), Some(b));
    forward_stored(unit, pool, g, PackedOperands { source, filters, bias, target, work });
}

/// Rounds w to bf16 and packs it for [`forward_stored`].
pub(in super::super) fn store_weights(pool: &Pool, g: &Geometry, w: &[f32], stored: &mut [Bf16]) {
    let direct = as_direct(g);
    let plan = TilePlan::new(&direct);
    let (depth, run) = (direct.depth(), plan.run);
    plan.pack(pool, stored, |filters, down, tiles| {
        let first = filters.start * depth + down * run;
        match plan.interleaved {
            1 => {
                let source = PackLayout::ColumnsOfB;
                pack::panel(source, &w[first..], depth, filters.len(), run, tiles);
            }
            rows => {
                let left = g.window.0 - down * rows;
                interleave::pack(g, rows, &w[first..], filters.len(), left, tiles);
            }
        }
    });
}

/// [`forward`] with the filters that [`store_weights`] has written, on f32 or bf16 values.
pub(in super::super) fn forward_stored<S: Value, T: Value>(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    operands: PackedOperands<'_, Bf16, S, T>,
) {
    TilePlan::new(&as_direct(g)).run(unit, pool, operands);
}

/// The gradient of the input: a convolution over dy for each phase of the stride.
pub(in super::super) fn backward_input(
    unit: MatrixUnit,
    pool: &Pool,
    g: &Geometry,
    BackwardInput { dy, w, dx, scratch }: BackwardInputSlices<'_>,
) {
    let (of_group, channels) = (g.filters / g.groups, g.channels / g.groups);
    for Phase { direct, tap } in phases(g) {
        let plan = TilePlan::new(&direct);
        let (filters, work) = super::split(scratch, plan.filters_len());
        let [taps_down, taps_across] = direct.taps;
        plan.pack(pool, as_bf16_mut(filters), |columns, down, tiles| {
            let (group, first) = (columns.start / channels, columns.start % channels);
            let kh = tap[0] + g.stride * (taps_down - 1 - down);
            let run = |k: usize| {
                let (across, f) = (k / of_group, k % of_group);
                if across >= taps_across {
                    return &[][..];
                }
                let kw = tap[1] + g.stride * (taps_across - 1 - across);
                let filter = (group * of_group + f) * g.window.0 + kh;
                &w[(filter * g.window.1 + kw) * channels + first..][..columns.len()]
            };
            pack::tiles(PackLayout::AcrossB, tiles, |tile| move |idx| run(tile * DEPTH + idx));
        });
        let (filters, target) = (as_bf16(filters), &mut *dx);
        plan.run(unit, pool, PackedOperands { source: dy, filters, bias: None, target, work });
    }
}

/// How the work is divided.
#[derive(Clone, Copy)]
struct TilePlan<'a> {
    direct: &'a Direct,
    /// Rows of the window that are interleaved: as many as the stride, so that no row is stored
    /// twice, if that takes fewer tiles; else one.
    interleaved: usize,
    /// k of so many rows of the window, and the tiles that they take.
    run: usize,
    tiles: usize,
    /// Images per chunk, and the number of parts into which panels and rows are divided.
    images: usize,
    panels: usize,
    bands: usize,
}

impl TilePlan<'_> {
    fn new(direct: &Direct) -> TilePlan<'_> {
        let run = direct.taps[1] * direct.source[2] / direct.groups;
        let tiles = |rows: usize| direct.taps[0].div_ceil(rows) * (rows * run).div_ceil(DEPTH);
        let may = direct.groups == 1 && direct.source[2] <= interleave::MAX_CHANNELS;
        let interleaved = if may && tiles(direct.step) < tiles(1) { direct.step } else { 1 };
        let (run, tiles) = (interleaved * run, (interleaved * run).div_ceil(DEPTH));
        let mut plan = TilePlan { direct, interleaved, run, tiles, images: 1, panels: 1, bands: 1 };
        let image = plan.padded(0..direct.out[0]).len();
        plan.images = (CHUNK_ELEMENTS / image.max(1)).min(direct.images / CHUNKS).max(1);
        // For few images, the division after which a chunk reads less.
        let wanted = CHUNKS.div_ceil(direct.images);
        if 2 * plan.filters_len() > image {
            plan.panels = wanted.min(direct.groups * plan.pairs())
        } else {
            plan.bands = wanted.min(direct.out[0])
        }
        plan
    }

    /// The part of an image that these rows of the output cover.
    fn padded(&self, rows: Range<usize>) -> PaddedImage {
        let Direct { source, groups, taps, step, pad, out, .. } = *self.direct;
        // Interleaved lines start at the same offset in a cache line.
        let whole = if self.interleaved > 1 { 8 } else { 1 };
        PaddedImage {
            source,
            groups,
            pad: [pad[0] - (rows.start * step) as isize, pad[1]],
            // At least one row, even if there are no taps.
            rows: (rows.len().max(1) - 1) * step + (self.lines() * self.interleaved).max(1),
            columns: ((out[1] - 1) * step + taps[1].max(1)).next_multiple_of(whole),
            interleaved: self.interleaved,
        }
    }

    /// Lines of interleaved rows in the window.
    fn lines(&self) -> usize {
        self.direct.taps[0].div_ceil(self.interleaved)
    }

    /// Output channels per group.
    fn columns(&self) -> usize {
        self.direct.channels / self.direct.groups
    }

    /// Pairs of panels per group.
    fn pairs(&self) -> usize {
        self.columns().div_ceil(SIDE)
    }

    fn panel_len(&self) -> usize {
        self.lines() * self.tiles * PACKED
    }

    /// Floats of packed filters `[group][panel][line of the window][tile]`.
    fn filters_len(&self) -> usize {
        self.direct.groups * self.columns().div_ceil(TILE) * self.panel_len() / 2
    }

    /// Floats of the copied images of a chunk.
    fn own_len(&self) -> usize {
        let padded = self.padded(0..self.direct.out[0]);
        let elements = self.images * padded.len() + padded.slack(self.direct.step);
        (elements + padded.spare()).next_multiple_of(32) / 2
    }

    fn work_len(&self, threads: usize) -> usize {
        threads * self.own_len()
    }

    /// Packs filters. `pack(columns, down, tiles)` fills the tiles of these output channels and of
    /// line `down` of the window.
    fn pack(
        &self,
        pool: &Pool,
        filters: &mut [Bf16],
        pack: impl Fn(Range<usize>, usize, &mut [Bf16]) + Sync + Send,
    ) {
        if self.tiles == 0 {
            return;
        }
        let of_group = self.columns().div_ceil(TILE);
        pool.chunks(filters, self.panel_len(), |idx, panel| {
            let first = idx / of_group * self.columns();
            let columns = idx % of_group * TILE..(idx % of_group * TILE + TILE).min(self.columns());
            for (down, tiles) in panel.chunks_exact_mut(self.tiles * PACKED).enumerate() {
                pack(first + columns.start..first + columns.end, down, tiles);
            }
        });
    }

    /// Convolves with packed filters.
    fn run<S: Value, T: Value>(
        &self,
        unit: MatrixUnit,
        pool: &Pool,
        operands: PackedOperands<'_, Bf16, S, T>,
    ) {
        let PackedOperands { source, filters, bias, target, work } = operands;
        let direct = self.direct;
        let (own, _) = super::split_shared(work, self.work_len(pool.threads()));
        let target = Shared::new(target);
        let pass = TilePass { plan: self, source, filters, bias, target };
        let (each_image, len) = (self.bands * self.panels, self.own_len());
        pool.each_with_thread(direct.images.div_ceil(self.images) * each_image, |chunk, thread| {
            let first = chunk / each_image * self.images;
            let images = first..(first + self.images).min(direct.images);
            let part = chunk % each_image;
            let rows = direct::share(direct.out[0], part / self.panels, self.bands);
            let pairs = direct.groups * self.pairs();
            let pairs = direct::share(pairs, part % self.panels, self.panels);
            // SAFETY: each thread has its own part, and runs one chunk at a time.
            let own = unsafe { own.part(thread * len..(thread + 1) * len) };
            pass.chunk(&unit.configure(), images, pairs, rows, as_bf16_mut(own));
        });
    }
}

struct TilePass<'a, S, T> {
    plan: &'a TilePlan<'a>,
    source: &'a [S],
    filters: &'a [Bf16],
    bias: Option<&'a [f32]>,
    target: Shared<'a, T>,
}

impl<S: Value, T: Value> TilePass<'_, S, T> {
    /// Some pairs of panels, numbered over all groups, for rows of the output of some images.
    fn chunk(
        &self,
        configured: &Configured,
        images: Range<usize>,
        pairs: Range<usize>,
        rows: Range<usize>,
        own: &mut [Bf16],
    ) {
        let direct = self.plan.direct;
        let (padded, len) =
            (self.plan.padded(rows.clone()), direct.source.iter().product::<usize>());
        let (own, spare) = own.split_at_mut(own.len() - padded.spare());
        if self.plan.tiles > 0 {
            for (own, image) in own.chunks_exact_mut(padded.len()).zip(images.clone()) {
                padded.copy(&self.source[image * len..(image + 1) * len], own, spare);
            }
            // Tiles read beyond the last image.
            own[images.len() * padded.len()..].fill(0);
        }
        for pair in pairs {
            for (idx, image) in images.clone().enumerate() {
                let own = &own[idx * padded.len()..];
                self.pair(configured, pair, image, &rows, &padded, own);
            }
        }
    }

    /// A pair of panels for rows of an image, whose copy `own` starts with.
    fn pair(
        &self,
        configured: &Configured,
        pair: usize,
        image: usize,
        rows: &Range<usize>,
        padded: &PaddedImage,
        own: &[Bf16],
    ) {
        let (plan, direct) = (self.plan, self.plan.direct);
        let (group, first) = (pair / plan.pairs(), pair % plan.pairs() * SIDE);
        let columns = SIDE.min(plan.columns() - first);
        let channel = group * plan.columns() + first;
        let panels = group * plan.columns().div_ceil(TILE) + first / TILE;
        let b = panels * plan.panel_len();
        let second = (columns > TILE).then(|| b + plan.panel_len());
        let b = Tiles { elements: self.filters, first: b, second, row: DEPTH };
        let mut bias = [0.0; SIDE];
        if let Some(biases) = self.bias {
            bias[..columns].copy_from_slice(&biases[channel..channel + columns]);
        }
        let loops = [
            Loop::ONCE,
            Loop { count: plan.lines(), a: padded.line(), b: plan.tiles * PACKED },
            Loop { count: plan.tiles, a: DEPTH, b: PACKED },
        ];
        let pixel = direct.step * padded.pixel();
        let lines = Lines::new(rows.len(), direct.out[1], direct.step, padded.columns);
        let Aligned(sums) = &mut Aligned([0.0; SIDE * SIDE]);
        let group_at = group * padded.group_len();
        let at = |tile: usize| {
            let (line, position) = lines.start(tile);
            group_at + line * direct.step / plan.interleaved * padded.line() + position * pixel
        };
        let target = direct.target.first
            + image * direct.target.image
            + rows.start * direct.target.row
            + channel;
        for tile in (0..lines.tiles()).step_by(2) {
            let second = (tile + 1 < lines.tiles()).then(|| at(tile + 1));
            let a = Tiles { elements: own, first: at(tile), second, row: pixel };
            let runs = (tile..lines.tiles()).take(2).flat_map(|tile| lines.runs(tile));
            self.fetch_target(runs, target, columns);
            configured.multiply(&Block { a, b, loops, start: Start::Row(&bias) }, sums);
            for (half, tile) in (tile..lines.tiles()).take(2).enumerate() {
                let sums = &sums[half * TILE * SIDE..][..TILE * SIDE];
                self.write(sums, lines.runs(tile), target, columns);
            }
        }
    }

    /// Fetches the pixels of runs that [`write`](Self::write) will write, while they are computed.
    /// It would wait for each of them otherwise: they lie too far apart for the processor to guess.
    fn fetch_target(
        &self,
        runs: impl Iterator<Item = (usize, [usize; 2], usize)>,
        at: usize,
        columns: usize,
    ) {
        let target = &self.plan.direct.target;
        for (_, [i, j], count) in runs {
            for n in 0..count {
                let at = at + i * target.row + (j + n) * target.column;
                // SAFETY: as in `write`.
                prefetch::to_write(unsafe { self.target.part(at..at + columns) });
            }
        }
    }

    /// Writes a tile's rows to their pixels, rectified if the geometry has a ReLU.
    fn write(
        &self,
        sums: &[f32],
        mut runs: impl Iterator<Item = (usize, [usize; 2], usize)>,
        at: usize,
        columns: usize,
    ) {
        let &Direct { target, relu, .. } = self.plan.direct;
        let sums = sums.as_chunks::<SIDE>().0;
        simd::vectorized!({
            for (position, [i, j], count) in runs.by_ref() {
                let at = at + i * target.row + j * target.column;
                for (n, sums) in sums[position..position + count].iter().enumerate() {
                    let at = at + n * target.column;
                    // SAFETY: a chunk has its own images and rows of the output, or its own
                    // pairs of panels, that is, channels; here each tile has its own pixels.
                    let y = unsafe { self.target.part(at..at + columns) };
                    rectify(y, sums, relu);
                }
            }
        });
    }
}
