//! The convolution in bf16 on the CPU: direct, over tiles.
//!
//! A tile's rows are neighbouring output pixels, whose windows lie at a regular distance, as in
//! [`direct`](super::direct). So a thread rounds what a few images' outputs see of them into bf16,
//! with zeros around ([`seen`]), and multiplies from there: nothing is unfolded. k runs over the
//! window's rows, and in each over its pixels and their channels, filled up to whole tiles.
//!
//! The floor: at AMX's peak a forward pass of AlexNet's five layers on 128 images is 25 ms of two
//! cores. Tiles that hang over take a seventh more; in conv1, whose runs of 33 k are two tiles,
//! twice, but for its [`braid`]s. There is no Winograd's form here: transforming would take longer
//! than it saves.

mod band;
mod braid;
mod filter;
mod pieces;
mod rectify;
mod seen;

pub(in super::super) use filter::backward_filter;

use super::super::Geometry;
use super::direct::{self, Direct};
use super::{Phase, as_direct, phases};
use crate::gemm::amx::pack::{self, Source};
use crate::gemm::amx::{
    Bf16, Block, DEPTH, Engine, PACKED, Ready, SIDE, Start, TILE, Tiles, numbers,
};
use crate::gemm::{Loop, Shared};
use crate::simd;
use rectify::{Aligned, rectify};
use seen::{Lines, Seen};
use std::ops::Range;
use tensor::Pool;

/// Chunks that keep all threads busy to the end, and numbers of images that a chunk goes through
/// with each pair of panels: with these they should stay in the second-level cache.
const CHUNKS: usize = 16;
const CHUNK_NUMBERS: usize = 256 << 10;

/// Floats of scratch memory for any of the three passes, and for filters that are kept.
pub(in super::super) fn scratch(g: &Geometry, threads: usize) -> usize {
    let whole = |direct: Direct| {
        let plan = Plan::new(&direct);
        plan.filters_len() + plan.work_len(threads)
    };
    let input = phases(g).map(|phase| whole(phase.direct)).max().unwrap_or(0);
    whole(as_direct(g)).max(input).max(filter::scratch(g, threads))
}

/// Floats of the filters as [`forward_kept`] multiplies them.
pub(in super::super) fn kept(g: &Geometry) -> usize {
    Plan::new(&as_direct(g)).filters_len()
}

/// `y = conv(x, w) + b`.
pub(in super::super) fn forward(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (x, w, b): (&[f32], &[f32], &[f32]),
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let (filters, work) = super::split(scratch, kept(g));
    keep(pool, g, w, filters);
    forward_kept(engine, pool, g, (x, filters, b), y, work);
}

/// Brings w into the form in which it is multiplied.
pub(in super::super) fn keep(pool: &Pool, g: &Geometry, w: &[f32], kept: &mut [f32]) {
    let direct = as_direct(g);
    let plan = Plan::new(&direct);
    let (depth, run) = (direct.depth(), plan.run);
    plan.pack(pool, kept, |filters, down, tiles| {
        let first = filters.start * depth + down * run;
        match plan.braid {
            1 => pack::panel(Source::ColumnsOfB, &w[first..], depth, (filters.len(), run), tiles),
            rows => {
                braid::pack(g, rows, &w[first..], filters.len(), g.window.0 - down * rows, tiles)
            }
        }
    });
}

/// [`forward`] with filters that [`keep`] has brought into form.
pub(in super::super) fn forward_kept(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (x, kept, b): (&[f32], &mut [f32], &[f32]),
    y: &mut [f32],
    work: &mut [f32],
) {
    Plan::new(&as_direct(g)).run(engine, pool, (x, numbers(kept), Some(b)), y, work);
}

/// The gradient of the input: a convolution over dy for each phase of the stride.
pub(in super::super) fn backward_input(
    engine: Engine,
    pool: &Pool,
    g: &Geometry,
    (dy, w): (&[f32], &[f32]),
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let (of_group, channels) = (g.filters / g.groups, g.channels / g.groups);
    for Phase { direct, tap } in phases(g) {
        let plan = Plan::new(&direct);
        let (filters, work) = super::split(scratch, plan.filters_len());
        let [taps_down, taps_across] = direct.taps;
        plan.pack(pool, filters, |columns, down, tiles| {
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
            pack::tiles(Source::AcrossB, tiles, |tile| move |idx| run(tile * DEPTH + idx));
        });
        plan.run(engine, pool, (dy, numbers(filters), None), dx, work);
    }
}

/// How the work is laid out.
#[derive(Clone, Copy)]
struct Plan<'a> {
    direct: &'a Direct,
    /// Rows of the window whose pixels lie side by side: as many as the stride, so that no row is
    /// in two braids, if that takes fewer tiles; else one.
    braid: usize,
    /// k of so many rows of the window, and the tiles that it takes.
    run: usize,
    tiles: usize,
    /// Images in a chunk, and into how many parts panels and rows are cut.
    images: usize,
    panels: usize,
    bands: usize,
}

impl Plan<'_> {
    fn new(direct: &Direct) -> Plan<'_> {
        let run = direct.taps[1] * direct.source[2] / direct.groups;
        let tiles = |rows: usize| direct.taps[0].div_ceil(rows) * (rows * run).div_ceil(DEPTH);
        let may = direct.groups == 1 && direct.source[2] <= braid::CHANNELS;
        let braid = if may && tiles(direct.step) < tiles(1) { direct.step } else { 1 };
        let (run, tiles) = (braid * run, (braid * run).div_ceil(DEPTH));
        let mut plan = Plan { direct, braid, run, tiles, images: 1, panels: 1, bands: 1 };
        let image = plan.seen(0..direct.out[0]).len();
        plan.images = (CHUNK_NUMBERS / image.max(1)).min(direct.images / CHUNKS).max(1);
        // Few images: whichever leaves a chunk less to read.
        let wanted = CHUNKS.div_ceil(direct.images);
        if 2 * plan.filters_len() > image {
            plan.panels = wanted.min(direct.groups * plan.pairs())
        } else {
            plan.bands = wanted.min(direct.out[0])
        }
        plan
    }

    /// What rows of the output see.
    fn seen(&self, rows: Range<usize>) -> Seen {
        let Direct { source, groups, taps, step, pad, out, .. } = *self.direct;
        // Lines of braids begin alike in lines of the cache.
        let whole = if self.braid > 1 { 8 } else { 1 };
        Seen {
            source,
            groups,
            pad: [pad[0] - (rows.start * step) as isize, pad[1]],
            // With no taps something must be there to count pixels by.
            rows: (rows.len().max(1) - 1) * step + (self.braids() * self.braid).max(1),
            columns: ((out[1] - 1) * step + taps[1].max(1)).next_multiple_of(whole),
            braid: self.braid,
        }
    }

    /// Braids of the window's rows.
    fn braids(&self) -> usize {
        self.direct.taps[0].div_ceil(self.braid)
    }

    /// Channels of a group's output.
    fn columns(&self) -> usize {
        self.direct.channels / self.direct.groups
    }

    /// Pairs of panels of a group.
    fn pairs(&self) -> usize {
        self.columns().div_ceil(SIDE)
    }

    fn panel_len(&self) -> usize {
        self.braids() * self.tiles * PACKED
    }

    /// Floats of packed filters `[group][panel][braid of the window's rows][tile]`.
    fn filters_len(&self) -> usize {
        self.direct.groups * self.columns().div_ceil(TILE) * self.panel_len() / 2
    }

    /// Floats of the images of a chunk.
    fn own_len(&self) -> usize {
        let seen = self.seen(0..self.direct.out[0]);
        let numbers = self.images * seen.len() + seen.slack(self.direct.step);
        (numbers + seen.spare()).next_multiple_of(32) / 2
    }

    fn work_len(&self, threads: usize) -> usize {
        threads * self.own_len()
    }

    /// Packs filters. `pack(columns, down, tiles)` fills the tiles of these output channels and a
    /// braid of the window's rows.
    fn pack(
        &self,
        pool: &Pool,
        filters: &mut [f32],
        pack: impl Fn(Range<usize>, usize, &mut [Bf16]) + Sync + Send,
    ) {
        if self.tiles == 0 {
            return;
        }
        let of_group = self.columns().div_ceil(TILE);
        pool.chunks(numbers(filters), self.panel_len(), |idx, panel| {
            let first = idx / of_group * self.columns();
            let columns = idx % of_group * TILE..(idx % of_group * TILE + TILE).min(self.columns());
            for (down, tiles) in panel.chunks_exact_mut(self.tiles * PACKED).enumerate() {
                pack(first + columns.start..first + columns.end, down, tiles);
            }
        });
    }

    /// Convolves with packed filters.
    fn run(
        &self,
        engine: Engine,
        pool: &Pool,
        (source, filters, bias): (&[f32], &[Bf16], Option<&[f32]>),
        target: &mut [f32],
        work: &mut [f32],
    ) {
        let direct = self.direct;
        let (own, _) = super::cut(work, self.work_len(pool.threads()));
        let target = Shared::new(target);
        let work = Work { plan: self, source, filters, bias, target };
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
            work.chunk(&engine.ready(), images, pairs, rows, numbers(own));
        });
    }
}

struct Work<'a> {
    plan: &'a Plan<'a>,
    source: &'a [f32],
    filters: &'a [Bf16],
    bias: Option<&'a [f32]>,
    target: Shared<'a>,
}

impl Work<'_> {
    /// Some pairs of panels, counted through all groups, over rows of the output of some images.
    fn chunk(
        &self,
        ready: &Ready,
        images: Range<usize>,
        pairs: Range<usize>,
        rows: Range<usize>,
        own: &mut [Bf16],
    ) {
        let direct = self.plan.direct;
        let (seen, len) = (self.plan.seen(rows.clone()), direct.source.iter().product::<usize>());
        let (own, spare) = own.split_at_mut(own.len() - seen.spare());
        if self.plan.tiles > 0 {
            for (own, image) in own.chunks_exact_mut(seen.len()).zip(images.clone()) {
                seen.copy(&self.source[image * len..(image + 1) * len], own, spare);
            }
            // What tiles read beyond the last image.
            own[images.len() * seen.len()..].fill(0);
        }
        let own: &[Bf16] = own;
        for pair in pairs {
            for image in images.clone() {
                self.pair(ready, pair, image, &rows, &seen, (own, image - images.start));
            }
        }
    }

    /// A pair of panels over rows of an image, the `idx`th of those copied.
    fn pair(
        &self,
        ready: &Ready,
        pair: usize,
        image: usize,
        rows: &Range<usize>,
        seen: &Seen,
        (own, idx): (&[Bf16], usize),
    ) {
        let (plan, direct) = (self.plan, self.plan.direct);
        let (group, first) = (pair / plan.pairs(), pair % plan.pairs() * SIDE);
        let columns = SIDE.min(plan.columns() - first);
        let channel = group * plan.columns() + first;
        let panels = group * plan.columns().div_ceil(TILE) + first / TILE;
        let b = panels * plan.panel_len();
        let second = (columns > TILE).then(|| b + plan.panel_len());
        let b = Tiles { numbers: self.filters, first: b, second, row: DEPTH };
        let mut bias = [0.0; SIDE];
        if let Some(biases) = self.bias {
            bias[..columns].copy_from_slice(&biases[channel..channel + columns]);
        }
        let loops = [
            Loop::ONCE,
            Loop { count: plan.braids(), a: seen.line(), b: plan.tiles * PACKED },
            Loop { count: plan.tiles, a: DEPTH, b: PACKED },
        ];
        let pixel = direct.step * seen.pixel();
        let lines = Lines::new(rows.len(), direct.out[1], direct.step, seen.columns);
        let Aligned(sums) = &mut Aligned([0.0; SIDE * SIDE]);
        let image_at = idx * seen.len() + group * seen.group_len();
        let at = |tile: usize| {
            let (line, position) = lines.start(tile);
            image_at + line * direct.step / plan.braid * seen.line() + position * pixel
        };
        let target = direct.target.first
            + image * direct.target.image
            + rows.start * direct.target.row
            + channel;
        for tile in (0..lines.tiles()).step_by(2) {
            let second = (tile + 1 < lines.tiles()).then(|| at(tile + 1));
            let a = Tiles { numbers: own, first: at(tile), second, row: pixel };
            ready.multiply(&Block { a, b, loops, start: Start::Row(&bias) }, sums);
            for (half, tile) in (tile..lines.tiles()).take(2).enumerate() {
                let sums = &sums[half * TILE * SIDE..][..TILE * SIDE];
                self.write(sums, lines.runs(tile), target, columns);
            }
        }
    }

    /// Writes a tile's rows, rectified if that is asked for, to where their pixels lie.
    fn write(
        &self,
        sums: &[f32],
        runs: impl Iterator<Item = (usize, [usize; 2], usize)>,
        at: usize,
        columns: usize,
    ) {
        let &Direct { target, relu, .. } = self.plan.direct;
        let sums = sums.as_chunks::<SIDE>().0;
        simd::vectorized(
            #[inline(always)]
            || {
                for (position, [i, j], count) in runs {
                    let at = at + i * target.row + j * target.column;
                    for (n, sums) in sums[position..position + count].iter().enumerate() {
                        let at = at + n * target.column;
                        // SAFETY: a chunk has its own images and rows of the output, or its own
                        // pairs of panels: channels; and here each tile its own pixels.
                        let y = unsafe { self.target.part(at..at + columns) };
                        rectify(y, sums, relu);
                    }
                }
            },
        );
    }
}
