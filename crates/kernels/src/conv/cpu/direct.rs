//! A convolution whose A is the image itself.
//!
//! A tile's rows are neighbouring output pixels of one row: their windows are `step` pixels apart,
//! so they are rows of A at a regular distance, and k runs over the window's rows, its pixels and
//! their channels. Rows of the window outside the image are skipped; columns outside are zeros in a
//! copy of the image, which the thread that reads it makes in scratch memory.
//!
//! Lower bound: two operations per multiply-add at the processor's peak, where products with the
//! padding may be skipped.

use super::{PackedOperands, split_shared};
use crate::gemm::{Isa, Layout, Loop, SharedFloats, Start, Tile};
use std::ops::Range;
use tensor::Pool;

/// The offset of the first output pixel, and the distances of images, rows and columns, in floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputLayout {
    pub first: usize,
    pub image: usize,
    pub row: usize,
    pub column: usize,
}

/// A convolution, in terms that cover the gradient of the input, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct {
    pub images: usize,
    /// Height, width, channels.
    pub source: [usize; 3],
    pub groups: usize,
    /// The window's rows and columns. If 0, the output is the bias, or zero.
    pub taps: [usize; 2],
    /// Pixels of the source from one output pixel to the next.
    pub step: usize,
    /// Zeros above and to the left of the source; if negative, rows and columns of it to skip.
    pub pad: [isize; 2],
    /// Rows and columns of the output.
    pub out: [usize; 2],
    pub target: OutputLayout,
    /// Channels of the output.
    pub channels: usize,
    pub relu: bool,
}

/// The number of chunks that keeps all threads busy to the end, and the floats of images that a
/// chunk multiplies by each panel of filters: few enough to stay in the L2 cache with the panel.
const CHUNKS: usize = 16;
const CHUNK_FLOATS: usize = 100_000;

impl Direct {
    /// k: the length of a filter.
    pub fn depth(&self) -> usize {
        self.taps[0] * self.taps[1] * self.group_channels()
    }

    fn group_channels(&self) -> usize {
        self.source[2] / self.groups
    }

    /// Panels of filters per group.
    fn panels(&self, isa: Isa) -> usize {
        (self.channels / self.groups).div_ceil(isa.columns())
    }

    /// Columns of the source that the output covers, including padding.
    fn covered_columns(&self) -> usize {
        match self.taps[1] {
            0 => 0,
            taps => (self.out[1] - 1) * self.step + taps,
        }
    }

    fn needs_copy(&self) -> bool {
        let end = self.covered_columns() as isize - self.pad[1];
        self.covered_columns() > 0 && (self.pad[1] > 0 || end > self.source[1] as isize)
    }

    /// Divides the work by images; if these are few, also by panels of filters or by rows of the
    /// output, whichever makes a chunk read less.
    fn chunks(&self, isa: Isa) -> Chunks {
        let image = self.source[0] * self.covered_columns() * self.source[2];
        let images = (CHUNK_FLOATS / image.max(1)).min(self.images / CHUNKS).max(1);
        let wanted = CHUNKS.div_ceil(self.images);
        let panels = self.groups * self.panels(isa);
        if self.filters_len(isa) > image {
            Chunks { images, panels: wanted.min(panels), bands: 1 }
        } else {
            Chunks { images, panels: 1, bands: wanted.min(self.out[0]) }
        }
    }

    /// Floats of a copied image.
    fn copy_len(&self) -> usize {
        if self.needs_copy() {
            (self.source[0] * self.covered_columns() * self.source[2]).next_multiple_of(16)
        } else {
            0
        }
    }

    /// Floats of packed filters.
    pub fn filters_len(&self, isa: Isa) -> usize {
        self.groups * self.panels(isa) * self.depth() * isa.columns()
    }

    /// Floats of scratch memory that [`run`](Self::run) needs.
    pub fn work_len(&self, isa: Isa, threads: usize) -> usize {
        threads * self.chunks(isa).images * self.copy_len()
    }

    /// Packs filters. `pack(group, columns, panel)` fills the panel of these columns of the group's
    /// filters.
    pub fn pack(
        &self,
        isa: Isa,
        pool: &Pool,
        packed: &mut [f32],
        pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        let packed = SharedFloats::new(packed);
        let panel_len = self.depth() * isa.columns();
        pool.each(self.groups * self.panels(isa), |idx| {
            let (group, panel) = (idx / self.panels(isa), idx % self.panels(isa));
            // SAFETY: each call has its own panel, which is not read before `each` returns.
            let floats = unsafe { packed.part(idx * panel_len..(idx + 1) * panel_len) };
            pack(group, self.columns(isa, panel), floats);
        });
    }

    /// Convolves with packed filters.
    pub fn run(&self, isa: Isa, pool: &Pool, operands: PackedOperands<'_>) {
        let PackedOperands { source, filters, bias, target, work } = operands;
        let chunks = self.chunks(isa);
        let copies_len = chunks.images * self.copy_len();
        let (copies, _) = split_shared(work, pool.threads() * copies_len);
        let target = SharedFloats::new(target);
        let pass = DirectPass { direct: self, isa, source, bias, filters, target };
        let each_image = chunks.bands * chunks.panels;
        pool.each_with_thread(self.images.div_ceil(chunks.images) * each_image, |chunk, thread| {
            let first = chunk / each_image * chunks.images;
            let images = first..(first + chunks.images).min(self.images);
            let part = chunk % each_image;
            let rows = share(self.out[0], part / chunks.panels, chunks.bands);
            let panels = share(self.groups * self.panels(isa), part % chunks.panels, chunks.panels);
            // SAFETY: each thread has its own part, and runs one chunk at a time.
            let copies = unsafe { copies.part(thread * copies_len..(thread + 1) * copies_len) };
            pass.chunk(images, panels, rows, copies);
        });
    }

    /// The output channels of a group that a panel computes.
    fn columns(&self, isa: Isa, panel: usize) -> Range<usize> {
        let first = panel * isa.columns();
        first..(first + isa.columns()).min(self.channels / self.groups)
    }
}

/// Images per chunk, and the number of parts into which panels and rows are divided.
#[derive(Clone, Copy)]
struct Chunks {
    images: usize,
    panels: usize,
    bands: usize,
}

/// Part `idx` of `total`, divided into `parts`.
pub(super) fn share(total: usize, idx: usize, parts: usize) -> Range<usize> {
    idx * total / parts..(idx + 1) * total / parts
}

struct DirectPass<'a> {
    direct: &'a Direct,
    isa: Isa,
    source: &'a [f32],
    bias: Option<&'a [f32]>,
    filters: &'a [f32],
    target: SharedFloats<'a>,
}

/// An image in place, or its padded copy.
#[derive(Clone, Copy)]
struct SourceImage<'a> {
    floats: &'a [f32],
    /// The distance of rows.
    row: usize,
    /// The offset of the first output column's window in a row.
    left: usize,
}

impl DirectPass<'_> {
    /// Some panels of filters for some rows of the output of some images.
    fn chunk(
        &self,
        images: Range<usize>,
        panels: Range<usize>,
        rows: Range<usize>,
        copies: &mut [f32],
    ) {
        let direct = self.direct;
        let [height, width, channels] = direct.source;
        let source_len = height * width * channels;
        let source = |image: usize| &self.source[image * source_len..(image + 1) * source_len];
        let len = direct.copy_len();
        if direct.needs_copy() {
            for (copy, image) in copies.chunks_exact_mut(len).zip(images.clone()) {
                self.copy(source(image), &rows, copy);
            }
        }
        let copies: &[f32] = copies;
        let view = |image: usize| {
            if direct.needs_copy() {
                SourceImage {
                    floats: &copies[(image - images.start) * len..][..len],
                    row: direct.covered_columns() * channels,
                    left: 0,
                }
            } else {
                SourceImage {
                    floats: source(image),
                    row: width * channels,
                    left: direct.pad[1].unsigned_abs() * channels,
                }
            }
        };
        for panel in panels {
            for image in images.clone() {
                self.panel(panel, image, &rows, view(image));
            }
        }
    }

    /// The rows of the window that are in the source, for this row of the output.
    fn taps(&self, row: usize) -> Range<usize> {
        let top = self.direct.pad[0] - (row * self.direct.step) as isize;
        let end = (self.direct.source[0] as isize + top).clamp(0, self.direct.taps[0] as isize);
        top.clamp(0, end) as usize..end as usize
    }

    /// The row of the source under the window's row `tap`.
    fn source_row(&self, row: usize, tap: usize) -> usize {
        (row * self.direct.step + tap)
            .checked_add_signed(-self.direct.pad[0])
            .expect("in the image")
    }

    /// Copies the rows of the source that these rows of the output cover, padded with zeros to the
    /// left and right.
    fn copy(&self, source: &[f32], rows: &Range<usize>, copy: &mut [f32]) {
        let [_, width, channels] = self.direct.source;
        let covered = self.direct.covered_columns();
        let left = self.direct.pad[1].max(0) as usize;
        let skipped = (-self.direct.pad[1]).max(0) as usize;
        let some = (width.saturating_sub(skipped)).min(covered.saturating_sub(left));
        let mut next = 0;
        for row in rows.clone() {
            let taps = self.taps(row);
            if taps.is_empty() {
                continue;
            }
            let from = self.source_row(row, taps.start);
            for line in from.max(next)..from + taps.len() {
                let copy = &mut copy[line * covered * channels..(line + 1) * covered * channels];
                let (zeros, copy) = copy.split_at_mut(left.min(covered) * channels);
                zeros.fill(0.0);
                let (copy, zeros) = copy.split_at_mut(some * channels);
                copy.copy_from_slice(
                    &source[(line * width + skipped) * channels..][..some * channels],
                );
                zeros.fill(0.0);
            }
            next = next.max(from + taps.len());
        }
    }

    /// A panel of filters, numbered over all groups, for rows of an image.
    fn panel(&self, idx: usize, image: usize, rows: &Range<usize>, view: SourceImage<'_>) {
        let (group, panel) =
            (idx / self.direct.panels(self.isa), idx % self.direct.panels(self.isa));
        let direct = self.direct;
        let width = self.isa.columns();
        let panel_len = direct.depth() * width;
        let filters = &self.filters[idx * panel_len..][..panel_len];
        let columns = direct.columns(self.isa, panel);
        let channel = group * (direct.channels / direct.groups) + columns.start;
        let (pixel, run) = (direct.source[2], direct.group_channels());
        // Without groups, a row of the window is contiguous.
        let (middle, inner) = match direct.groups {
            1 => (Loop::ONCE, direct.taps[1] * run),
            _ => (Loop { count: direct.taps[1], a: pixel, b: run * width }, run),
        };
        for row in rows.clone() {
            let taps = self.taps(row);
            let tap_len = direct.taps[1] * run * width;
            let line = if taps.is_empty() {
                0
            } else {
                self.source_row(row, taps.start) * view.row + view.left
            };
            for (column, count) in self.isa.split(direct.out[1]).iter() {
                let a = line + column * direct.step * pixel + group * run;
                let tile = Tile {
                    rows: count,
                    columns: columns.len(),
                    a: view.floats.get(a..).unwrap_or(&[]),
                    layout: Layout::Rows(direct.step * pixel),
                    b: &filters[taps.start * tap_len..],
                    outer: Loop { count: taps.len(), a: view.row, b: tap_len },
                    middle,
                    inner,
                    c: direct.target.first
                        + image * direct.target.image
                        + row * direct.target.row
                        + column * direct.target.column
                        + channel,
                    c_row: direct.target.column,
                    start: self.bias.map_or(Start::Zero, |bias| Start::Bias(&bias[channel..])),
                    relu: direct.relu,
                    last: true,
                };
                // SAFETY: a chunk has its own images and rows of the output; here each panel has
                // its own channels and each tile its own pixels.
                unsafe { self.isa.tile(&tile, &self.target) };
            }
        }
    }
}
