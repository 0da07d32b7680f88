//! The gradient of the filters: a sum over the pixels of the batch.
//!
//! ```text
//! dw[f, kh, kw, c] = sum over images, i, j of
//!                    dy[i, j, f] x[stride i + kh - top, stride j + kw - left, c]
//! ```
//!
//! k runs over pixels. The vectors run along f, which is large everywhere in AlexNet, and the
//! broadcast factor is x, so that conv1 with its three channels fills the tile too. A block of
//! images at a time is packed by all threads: dy into panels of channels, x into strips with as
//! many channels as a tile has rows. Both then stay in the L1 cache while the taps of the window
//! use them. Strips keep an image's shape, so products with the padding are skipped. Images with
//! [few channels](super::few_channels) use another algorithm.
//!
//! Lower bound: two operations per multiply-add at the processor's peak, where products with the
//! padding may be skipped.

use super::split_shared;
use crate::conv::Geometry;
use crate::gemm::{EvenSplit, Isa, Layout, Loop, SharedFloats, Start, Tile};
use crate::operands::{BackwardWeights, BackwardWeightsSlices};
use crate::simd::{self, flushed};
use std::ops::Range;
use tensor::Pool;

/// Floats of a panel of dy that a tile reads before the next tile: half of the L1 cache.
const BAND_FLOATS: usize = 6 * 1024;
/// Floats of dy and x that are packed at once.
const BLOCK_FLOATS: usize = 2 << 20;
/// The least number of images per block, so that packing keeps all threads busy.
const BLOCK_IMAGES: usize = 8;
/// The number of chunks that keeps all threads busy to the end.
const CHUNKS: usize = 32;

/// How the work is divided.
#[derive(Clone, Copy)]
struct PixelsPlan {
    g: Geometry,
    isa: Isa,
    /// Panels of filters per group.
    panels: usize,
    /// The rows of a tile: parts of a group's channels.
    strips: EvenSplit,
    /// Floats from one pixel of a strip to the next.
    strip_width: usize,
    /// Images packed at once.
    block: usize,
}

impl PixelsPlan {
    fn new(isa: Isa, g: &Geometry) -> PixelsPlan {
        let channels = g.channels / g.groups;
        let mut plan = PixelsPlan {
            g: *g,
            isa,
            panels: (g.filters / g.groups).div_ceil(isa.columns()),
            strips: isa.split(channels),
            strip_width: isa.rows().next_multiple_of(8),
            block: 0,
        };
        let image = plan.x_len() + plan.dy_len();
        plan.block = (BLOCK_FLOATS / image).max(BLOCK_IMAGES).min(g.images);
        plan
    }

    fn pixels(&self) -> usize {
        self.g.out_height() * self.g.out_width()
    }

    /// Floats of a packed image of dy.
    fn dy_len(&self) -> usize {
        self.g.groups * self.panels * self.pixels() * self.isa.columns()
    }

    /// Floats of a strip of one image.
    fn strip_len(&self) -> usize {
        self.g.height * self.g.width * self.strip_width
    }

    /// Floats of a packed image of x.
    fn x_len(&self) -> usize {
        self.g.groups * self.strips.parts * self.strip_len()
    }

    /// The length of a filter.
    fn depth(&self) -> usize {
        self.g.window.0 * self.g.window.1 * (self.g.channels / self.g.groups)
    }

    /// Floats of the sums, as the tiles write them: `[group][panel][kh, kw, c][column]`.
    fn sums_len(&self) -> usize {
        self.g.groups * self.panels * self.depth() * self.isa.columns()
    }

    /// Floats of the sums over dy for each image and filter.
    fn bias_len(&self) -> usize {
        (self.g.images * self.g.filters).next_multiple_of(16)
    }

    /// The filters of a group that a panel has.
    fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.isa.columns();
        first..(first + self.isa.columns()).min(self.g.filters / self.g.groups)
    }
}

pub(super) fn scratch(isa: Isa, g: &Geometry) -> usize {
    let plan = PixelsPlan::new(isa, g);
    plan.sums_len() + plan.bias_len() + plan.block * (plan.dy_len() + plan.x_len())
}

/// The gradients of filters and biases.
pub(super) fn backward_filter(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    BackwardWeights { x, dy, dw, db, scratch }: BackwardWeightsSlices<'_>,
) {
    let plan = PixelsPlan::new(isa, g);
    let (sums, rest) = split_shared(scratch, plan.sums_len());
    let (bias, rest) = split_shared(rest, plan.bias_len());
    let (packed_dy, rest) = split_shared(rest, plan.block * plan.dy_len());
    let (packed_x, _) = split_shared(rest, plan.block * plan.x_len());
    let x_len = g.height * g.width * g.channels;
    for first in (0..g.images).step_by(plan.block) {
        let images = first..(first + plan.block).min(g.images);
        pool.each(2 * images.len(), |half| {
            let (idx, image) = (half / 2, first + half / 2);
            // SAFETY: each image and each half of the work has its own parts, which are not read
            // before `each` returns.
            unsafe {
                if half % 2 == 0 {
                    let packed = packed_dy.part(idx * plan.dy_len()..(idx + 1) * plan.dy_len());
                    let sums = bias.part(image * g.filters..(image + 1) * g.filters);
                    plan.pack_dy(&dy[image * plan.pixels() * g.filters..], packed, sums);
                } else {
                    let packed = packed_x.part(idx * plan.x_len()..(idx + 1) * plan.x_len());
                    plan.pack_x(&x[image * x_len..(image + 1) * x_len], packed);
                }
            }
        });
        // SAFETY: they are only read until `each` returns.
        let (dy, x): (&[f32], &[f32]) = unsafe { (packed_dy.all(), packed_x.all()) };
        let goes_on = first > 0;
        let pass = PixelsPass { plan: &plan, dy, x, images: images.len(), goes_on, sums };
        pool.each(pass.chunks(), |chunk| pass.chunk(chunk));
    }
    // SAFETY: all threads have finished.
    let (sums, bias) = unsafe { (sums.all(), bias.part(0..g.images * g.filters)) };
    unpack(isa, pool, g, sums, dw);
    add_biases(bias, db);
}

impl PixelsPlan {
    /// Packs an image of dy into panels `[group][panel][pixel][column]` and sums it over its
    /// pixels.
    fn pack_dy(&self, dy: &[f32], packed: &mut [f32], bias: &mut [f32]) {
        let width = self.isa.columns();
        let panel_len = self.pixels() * width;
        for (idx, panel) in packed.chunks_exact_mut(panel_len).enumerate() {
            let columns = self.columns(idx % self.panels);
            let first = idx / self.panels * (self.g.filters / self.g.groups) + columns.start;
            crate::gemm::copy_rows(&dy[first..], self.g.filters, columns.len(), width, panel);
            add_pixels(panel, width, &mut bias[first..first + columns.len()]);
        }
    }

    /// Packs an image of x into strips `[group][strip][pixel][channel]`.
    fn pack_x(&self, x: &[f32], packed: &mut [f32]) {
        let pixel = self.g.channels;
        for (idx, strip) in packed.chunks_exact_mut(self.strip_len()).enumerate() {
            let (first, count) = self.strips.part(idx % self.strips.parts);
            let first = idx / self.strips.parts * (pixel / self.g.groups) + first;
            crate::gemm::copy_strip(&x[first..], pixel, count, self.strip_width, strip);
        }
    }
}

/// Transposes sums `[group][panel][kh, kw, c][column]` to filters.
pub(super) fn unpack(isa: Isa, pool: &Pool, g: &Geometry, sums: &[f32], dw: &mut [f32]) {
    let (width, filters) = (isa.columns(), g.filters / g.groups);
    let depth = g.filter_shape().len() / g.filters;
    let panels = filters.div_ceil(width);
    let dw = SharedFloats::new(dw);
    pool.each(g.groups * panels, |idx| {
        let first = idx % panels * width;
        let columns = width.min(filters - first);
        let first = idx / panels * filters + first;
        // SAFETY: each panel has its own filters.
        let dw = unsafe { dw.part(first * depth..(first + columns) * depth) };
        let sums = &sums[idx * depth * width..(idx + 1) * depth * width];
        crate::gemm::untranspose_panel(sums, width, columns, dw);
    });
}

/// Adds partial sums of each filter's bias, in f64.
pub(super) fn add_biases(parts: &[f32], db: &mut [f32]) {
    let filters = db.len();
    for (f, db) in db.iter_mut().enumerate() {
        let parts = parts.chunks_exact(filters).map(|part| f64::from(part[f]));
        *db = flushed(parts.sum::<f64>() as f32);
    }
}

/// Sums a panel of dy over its pixels.
pub(super) fn add_pixels(panel: &[f32], width: usize, bias: &mut [f32]) {
    let mut sums = [0.0f64; 32];
    simd::vectorized!(match width {
        32 => add_rows::<32>(panel, &mut sums),
        _ => add_rows::<16>(panel, &mut sums),
    });
    bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias = sum as f32);
}

/// Sums rows of `N` floats.
#[inline(always)]
fn add_rows<const N: usize>(rows: &[f32], sums: &mut [f64]) {
    let mut total = [0.0f64; N];
    for row in rows.chunks_exact(N) {
        total.iter_mut().zip(row).for_each(|(total, &value)| *total += f64::from(value));
    }
    sums[..N].copy_from_slice(&total);
}

/// The tiles of one block of images.
struct PixelsPass<'a> {
    plan: &'a PixelsPlan,
    dy: &'a [f32],
    x: &'a [f32],
    images: usize,
    /// Whether earlier blocks have written to the sums.
    goes_on: bool,
    sums: SharedFloats<'a>,
}

/// The output pixels along an axis that a tile sums over: the first, and how many.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub first: usize,
    pub count: usize,
}

impl Span {
    /// The output pixels of `range` whose window has tap `tap` inside an image of `size` pixels.
    pub fn new(range: Range<usize>, tap: usize, stride: usize, pad: usize, size: usize) -> Span {
        let first = pad.saturating_sub(tap).div_ceil(stride).max(range.start);
        let end = (size + pad).saturating_sub(tap).div_ceil(stride).min(range.end);
        Span { first, count: end.saturating_sub(first) }
    }
}

impl PixelsPass<'_> {
    /// The number of parts into which the strips are divided.
    fn parts(&self) -> usize {
        CHUNKS.div_ceil(self.plan.g.groups * self.plan.panels).min(self.plan.strips.parts)
    }

    fn chunks(&self) -> usize {
        self.plan.g.groups * self.plan.panels * self.parts()
    }

    /// One panel of filters and some of the strips. A band of dy stays in the L1 cache for all of
    /// them, and a strip of x for all taps of the window.
    fn chunk(&self, chunk: usize) {
        let (plan, g) = (self.plan, &self.plan.g);
        let (panel, part) = (chunk / self.parts(), chunk % self.parts());
        let edge = |part: usize| part * plan.strips.parts / self.parts();
        let (images, rows) = self.band();
        let mut goes_on = self.goes_on;
        for first in (0..self.images).step_by(images) {
            let images = first..(first + images).min(self.images);
            for top in (0..g.out_height()).step_by(rows) {
                let rows = top..(top + rows).min(g.out_height());
                for strip in edge(part)..edge(part + 1) {
                    for kh in 0..g.window.0 {
                        for kw in 0..g.window.1 {
                            self.tile(panel, strip, [kh, kw], &images, &rows, goes_on);
                        }
                    }
                }
                goes_on = true;
            }
        }
    }

    /// Images, or rows of one image, that a tile sums over at once.
    fn band(&self) -> (usize, usize) {
        let (g, width) = (&self.plan.g, self.plan.isa.columns());
        let (image, row) = (self.plan.pixels() * width, g.out_width() * width);
        match BAND_FLOATS / image {
            0 => (1, (BAND_FLOATS / row).max(1)),
            images => (images, g.out_height()),
        }
    }

    fn tile(
        &self,
        panel: usize,
        strip: usize,
        [kh, kw]: [usize; 2],
        images: &Range<usize>,
        rows: &Range<usize>,
        goes_on: bool,
    ) {
        let (plan, g) = (self.plan, &self.plan.g);
        let (width, channels) = (plan.isa.columns(), g.channels / g.groups);
        let group = panel / plan.panels;
        let (first, count) = plan.strips.part(strip);
        let down = Span::new(rows.clone(), kh, g.stride, g.pad.top, g.height);
        let across = Span::new(0..g.out_width(), kw, g.stride, g.pad.left, g.width);
        let (pixel, row, image) = (plan.strip_width, g.width * plan.strip_width, plan.x_len());
        let left = (across.first * g.stride + kw).saturating_sub(g.pad.left);
        let start = (group * plan.strips.parts + strip) * plan.strip_len() + left * pixel;
        let top = (down.first * g.stride + kh).saturating_sub(g.pad.top);
        let b = panel * plan.pixels() + down.first * g.out_width() + across.first;
        let k = (kh * g.window.1 + kw) * channels + first;
        let tile = Tile {
            rows: count,
            columns: plan.columns(panel % plan.panels).len(),
            a: self.x.get(images.start * image + top * row + start..).unwrap_or(&[]),
            layout: Layout::Columns(g.stride * pixel),
            b: self.dy.get(images.start * plan.dy_len() + b * width..).unwrap_or(&[]),
            outer: Loop { count: images.len(), a: image, b: plan.dy_len() },
            middle: Loop { count: down.count, a: g.stride * row, b: g.out_width() * width },
            inner: across.count,
            c: (panel * plan.depth() + k) * width,
            c_row: width,
            start: if goes_on { Start::Sum } else { Start::Zero },
            relu: false,
            last: false, // sums of bands are added before unpacking
        };
        // SAFETY: a chunk has its own panel and strips: its own rows of the sums.
        unsafe { plan.isa.tile(&tile, &self.sums) };
    }
}
