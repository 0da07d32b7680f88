//! A convolution whose A is the image itself.
//!
//! A tile's rows are neighbouring output pixels of one row: their windows lie `step` pixels apart,
//! so they are rows of A at a regular distance, and k runs over the window's rows, its pixels and
//! their channels. Rows of the window that fall outside the image are left out; columns that do are
//! zeros in a copy of the image, made in scratch memory by the thread that is about to read it.
//!
//! The floor: two operations a multiplication at the peak of the multiply-adds; what falls into
//! the padding may be left out.

use super::cut;
use crate::gemm::{Isa, Layout, Loop, Shared, Start, Tile};
use std::ops::Range;
use tensor::Pool;

/// Where the output's pixels lie, in floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub first: usize,
    pub image: usize,
    pub row: usize,
    pub column: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Direct {
    pub images: usize,
    /// Height, width, channels.
    pub source: [usize; 3],
    pub groups: usize,
    /// The window's rows and columns. None: the output is the bias, or zero.
    pub taps: [usize; 2],
    /// Pixels of the source from one output pixel to the next.
    pub step: usize,
    /// Zeros above and to the left of the source; where negative, so much of the source is left
    /// out.
    pub pad: [isize; 2],
    /// Rows and columns of the output.
    pub out: [usize; 2],
    pub target: Target,
    /// Channels of the output.
    pub channels: usize,
    pub relu: bool,
}

/// The number of chunks that keeps all threads busy to the end, and the memory of images that a
/// chunk goes through with each panel of filters: together with the panel it should stay in the
/// second-level cache.
const CHUNKS: usize = 16;
const CHUNK_FLOATS: usize = 100_000;

impl Direct {
    /// The length of a filter: k.
    pub fn depth(&self) -> usize {
        self.taps[0] * self.taps[1] * self.group_channels()
    }

    fn group_channels(&self) -> usize {
        self.source[2] / self.groups
    }

    /// Panels of filters in a group.
    fn panels(&self, isa: Isa) -> usize {
        (self.channels / self.groups).div_ceil(isa.columns())
    }

    /// Columns of the source that the output sees; more than it has where there are zeros beside
    /// it.
    fn seen(&self) -> usize {
        match self.taps[1] {
            0 => 0,
            taps => (self.out[1] - 1) * self.step + taps,
        }
    }

    fn needs_copy(&self) -> bool {
        let end = self.seen() as isize - self.pad[1];
        self.seen() > 0 && (self.pad[1] > 0 || end > self.source[1] as isize)
    }

    /// How the work is cut: by images; where they are few, by panels of filters too, or by rows of
    /// the output, whichever leaves a chunk less to read.
    fn chunks(&self, isa: Isa) -> Chunks {
        let image = self.source[0] * self.seen() * self.source[2];
        let images = (CHUNK_FLOATS / image.max(1)).min(self.images / CHUNKS).max(1);
        let wanted = CHUNKS.div_ceil(self.images);
        let panels = self.groups * self.panels(isa);
        if self.packed(isa) > image {
            Chunks { images, panels: wanted.min(panels), bands: 1 }
        } else {
            Chunks { images, panels: 1, bands: wanted.min(self.out[0]) }
        }
    }

    /// Floats of a copied image.
    fn copy_len(&self) -> usize {
        if self.needs_copy() {
            (self.source[0] * self.seen() * self.source[2]).next_multiple_of(16)
        } else {
            0
        }
    }

    /// Floats of packed filters.
    pub fn packed(&self, isa: Isa) -> usize {
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
        let packed = Shared::new(packed);
        let panel_len = self.depth() * isa.columns();
        pool.each(self.groups * self.panels(isa), |idx| {
            let (group, panel) = (idx / self.panels(isa), idx % self.panels(isa));
            // SAFETY: each call has its own panel, and nobody reads one before `each` returns.
            let floats = unsafe { packed.part(idx * panel_len..(idx + 1) * panel_len) };
            pack(group, self.columns(isa, panel), floats);
        });
    }

    /// Convolves with packed filters.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        isa: Isa,
        pool: &Pool,
        source: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        target: &mut [f32],
        work: &mut [f32],
    ) {
        let cuts = self.chunks(isa);
        let copies_len = cuts.images * self.copy_len();
        let (copies, _) = cut(work, pool.threads() * copies_len);
        let target = Shared::new(target);
        let work = Work { direct: self, isa, source, bias, packed, target };
        let each_image = cuts.bands * cuts.panels;
        pool.each_with_thread(self.images.div_ceil(cuts.images) * each_image, |chunk, thread| {
            let first = chunk / each_image * cuts.images;
            let images = first..(first + cuts.images).min(self.images);
            let part = chunk % each_image;
            let rows = share(self.out[0], part / cuts.panels, cuts.bands);
            let panels = share(self.groups * self.panels(isa), part % cuts.panels, cuts.panels);
            // SAFETY: each thread has its own part, and runs one chunk at a time.
            let copies = unsafe { copies.part(thread * copies_len..(thread + 1) * copies_len) };
            work.chunk(images, panels, rows, copies);
        });
    }

    /// Which of a group's output channels a panel computes.
    fn columns(&self, isa: Isa, panel: usize) -> Range<usize> {
        let first = panel * isa.columns();
        first..(first + isa.columns()).min(self.channels / self.groups)
    }
}

/// Images in a chunk, and into how many parts panels and rows are cut.
#[derive(Clone, Copy)]
struct Chunks {
    images: usize,
    panels: usize,
    bands: usize,
}

/// What falls to `idx` when `total` is shared among `parts`.
pub(super) fn share(total: usize, idx: usize, parts: usize) -> Range<usize> {
    idx * total / parts..(idx + 1) * total / parts
}

struct Work<'a> {
    direct: &'a Direct,
    isa: Isa,
    source: &'a [f32],
    bias: Option<&'a [f32]>,
    packed: &'a [f32],
    target: Shared<'a>,
}

/// An image as the tiles see it: the source or its copy.
#[derive(Clone, Copy)]
struct View<'a> {
    floats: &'a [f32],
    /// From one row to the next.
    row: usize,
    /// From a row's start to what the first output column sees.
    left: usize,
}

impl Work<'_> {
    /// Some panels of filters over some rows of the output of some images.
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
                View {
                    floats: &copies[(image - images.start) * len..][..len],
                    row: direct.seen() * channels,
                    left: 0,
                }
            } else {
                View {
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

    /// The rows of the window that lie in the source, for this row of the output.
    fn taps(&self, row: usize) -> Range<usize> {
        let top = self.direct.pad[0] - (row * self.direct.step) as isize;
        let end = (self.direct.source[0] as isize + top).clamp(0, self.direct.taps[0] as isize);
        top.clamp(0, end) as usize..end as usize
    }

    /// The row of the source where the window's row `tap` lies.
    fn source_row(&self, row: usize, tap: usize) -> usize {
        (row * self.direct.step + tap)
            .checked_add_signed(-self.direct.pad[0])
            .expect("in the image")
    }

    /// Copies the rows of the source that these rows of the output see, with zeros to the left and
    /// right.
    fn copy(&self, source: &[f32], rows: &Range<usize>, copy: &mut [f32]) {
        let [_, width, channels] = self.direct.source;
        let seen = self.direct.seen();
        let left = self.direct.pad[1].max(0) as usize;
        let skipped = (-self.direct.pad[1]).max(0) as usize;
        let some = (width.saturating_sub(skipped)).min(seen.saturating_sub(left));
        let mut next = 0;
        for row in rows.clone() {
            let taps = self.taps(row);
            if taps.is_empty() {
                continue;
            }
            let from = self.source_row(row, taps.start);
            for line in from.max(next)..from + taps.len() {
                let copy = &mut copy[line * seen * channels..(line + 1) * seen * channels];
                let (zeros, copy) = copy.split_at_mut(left.min(seen) * channels);
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

    /// A panel of filters, counted through all groups, over rows of an image.
    fn panel(&self, idx: usize, image: usize, rows: &Range<usize>, view: View<'_>) {
        let (group, panel) =
            (idx / self.direct.panels(self.isa), idx % self.direct.panels(self.isa));
        let direct = self.direct;
        let width = self.isa.columns();
        let panel_len = direct.depth() * width;
        let packed = &self.packed[idx * panel_len..][..panel_len];
        let columns = direct.columns(self.isa, panel);
        let channel = group * (direct.channels / direct.groups) + columns.start;
        let (pixel, run) = (direct.source[2], direct.group_channels());
        // Without groups a row of the window is one run.
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
            for (column, count) in self.isa.cut(direct.out[1]).iter() {
                let a = line + column * direct.step * pixel + group * run;
                let tile = Tile {
                    rows: count,
                    columns: columns.len(),
                    a: view.floats.get(a..).unwrap_or(&[]),
                    layout: Layout::Rows(direct.step * pixel),
                    b: &packed[taps.start * tap_len..],
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
                // SAFETY: a chunk has its own images and rows of the output, and here each panel
                // its own channels and each tile its own pixels.
                unsafe { self.isa.tile(&tile, &self.target) };
            }
        }
    }
}
