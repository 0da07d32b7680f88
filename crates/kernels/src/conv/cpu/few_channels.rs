//! The gradient of the filters for images with few channels, as in conv1: direct.
//!
//! As in [`pixels`](super::pixels), k runs over pixels and the vectors along f. Three channels
//! would not fill the rows of a tile, so these run over a row of the window instead: `window x
//! channels` floats that are contiguous in the image. The maps are large here and the filters
//! small, so work is divided by pixels: the batch is split into pieces with separate sums, which
//! are added in the order of the pieces. Their number depends on the shape only, and so do the
//! results. A band of dy's rows is packed by the thread that reads it, and stays in its cache while
//! all tiles use it.
//!
//! Lower bound: two operations per multiply-add at the processor's peak, or reading dy once from
//! memory.

use super::pixels::{self, Span};
use super::split_shared;
use crate::conv::Geometry;
use crate::gemm::{self, EvenSplit, Isa, Layout, Loop, SharedFloats, Start, Tile};
use crate::operands::{BackwardWeights, BackwardWeightsSlices};
use std::ops::Range;
use tensor::Pool;

/// The least number of channels that is not few.
const FEW: usize = 12;
/// The number of pieces that keeps all threads busy to the end.
const PIECES: usize = 16;
/// The least number of pixels in a band: their panel takes half of the L1 cache.
const BAND_PIXELS: usize = 160;

/// Whether this algorithm is used.
pub(super) fn suits(g: &Geometry) -> bool {
    g.groups == 1 && g.channels < FEW
}

#[derive(Clone, Copy)]
struct FewChannelsPlan {
    g: Geometry,
    isa: Isa,
    panels: usize,
    /// The rows of a tile: parts of a row of the window.
    strips: EvenSplit,
    /// Rows of dy per band, and bands per image.
    rows: usize,
    bands: usize,
    pieces: usize,
    /// Columns of an image that windows cover; with padding more than it has.
    covered_columns: usize,
}

impl FewChannelsPlan {
    fn new(isa: Isa, g: &Geometry) -> FewChannelsPlan {
        let rows = BAND_PIXELS.div_ceil(g.out_width()).min(g.out_height());
        let bands = g.out_height().div_ceil(rows);
        FewChannelsPlan {
            g: *g,
            isa,
            panels: g.filters.div_ceil(isa.columns()),
            strips: isa.split(g.window.1 * g.channels),
            rows,
            bands,
            pieces: PIECES.min(g.images * bands),
            covered_columns: (g.out_width() - 1) * g.stride + g.window.1,
        }
    }

    fn needs_copy(&self) -> bool {
        self.g.pad.left > 0 || self.covered_columns > self.g.width
    }

    /// Floats of a panel of dy, for one band.
    fn panel_len(&self) -> usize {
        self.rows * self.g.out_width() * self.isa.columns()
    }

    /// Floats of a copy of the part of x that a band covers.
    fn copy_len(&self) -> usize {
        let rows = ((self.rows - 1) * self.g.stride + self.g.window.0).min(self.g.height);
        if self.needs_copy() { rows * self.covered_columns * self.g.channels } else { 0 }
    }

    /// Floats that each thread needs.
    fn thread_len(&self) -> usize {
        (self.panels * self.panel_len() + self.copy_len()).next_multiple_of(16)
    }

    fn depth(&self) -> usize {
        self.g.window.0 * self.g.window.1 * self.g.channels
    }

    /// Floats of the sums: `[panel][kh, kw, c][column]`.
    fn sums_len(&self) -> usize {
        self.panels * self.depth() * self.isa.columns()
    }

    /// Floats of the sums over dy for each band and filter.
    fn bias_len(&self) -> usize {
        self.g.images * self.bands * self.g.filters
    }
}

pub(super) fn scratch(isa: Isa, g: &Geometry, threads: usize) -> usize {
    let plan = FewChannelsPlan::new(isa, g);
    plan.pieces * plan.sums_len() + threads * plan.thread_len() + plan.bias_len()
}

/// The gradients of filters and biases.
pub(super) fn backward_filter(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    BackwardWeights { x, dy, dw, db, scratch }: BackwardWeightsSlices<'_>,
) {
    let plan = FewChannelsPlan::new(isa, g);
    let (sums, rest) = split_shared(scratch, plan.pieces * plan.sums_len());
    let (own, rest) = split_shared(rest, pool.threads() * plan.thread_len());
    let (bias, _) = split_shared(rest, plan.bias_len());
    let pass = FewChannelsPass { plan, x, dy, sums };
    pool.each_with_thread(plan.pieces, |piece, thread| {
        let edge = |piece: usize| piece * g.images * plan.bands / plan.pieces;
        let bands = edge(piece)..edge(piece + 1);
        // SAFETY: each thread has its own part and runs one piece at a time; each piece has its own
        // bands.
        let (own, bias) = unsafe {
            let own = own.part(thread * plan.thread_len()..(thread + 1) * plan.thread_len());
            (own, bias.part(bands.start * g.filters..bands.end * g.filters))
        };
        pass.piece(piece, bands, own, bias);
    });
    add_pieces(pool, &sums, plan.pieces, plan.sums_len());
    // SAFETY: all threads are done with both.
    let (sums, bias) = unsafe { (sums.part(0..plan.sums_len()), bias.part(0..plan.bias_len())) };
    pixels::unpack(isa, pool, g, sums, dw);
    pixels::add_biases(bias, db);
}

/// Adds the other pieces to the first.
pub(super) fn add_pieces(pool: &Pool, sums: &SharedFloats<'_>, pieces: usize, len: usize) {
    const RUN: usize = 4096;
    pool.each(len.div_ceil(RUN), |run| {
        let run = run * RUN..((run + 1) * RUN).min(len);
        for piece in 1..pieces {
            // SAFETY: each call has its own range of every piece, and pieces do not overlap.
            let (first, other) = unsafe {
                let other = piece * len + run.start..piece * len + run.end;
                (sums.part(run.clone()), sums.part(other))
            };
            first.iter_mut().zip(other).for_each(|(first, other)| *first += *other);
        }
    });
}

struct FewChannelsPass<'a> {
    plan: FewChannelsPlan,
    x: &'a [f32],
    dy: &'a [f32],
    sums: SharedFloats<'a>,
}

/// The rows of one image's x that a band covers.
#[derive(Clone, Copy)]
struct CoveredRows<'a> {
    floats: &'a [f32],
    /// The distance of rows.
    row: usize,
    /// The image's row that comes first.
    top: usize,
}

/// A packed band of dy, and its rows of x.
struct Band<'a> {
    rows: Range<usize>,
    x: CoveredRows<'a>,
    panels: &'a [f32],
    /// The offset of the piece's sums, and whether earlier bands have written to them.
    sums: usize,
    goes_on: bool,
}

impl FewChannelsPass<'_> {
    /// Some bands, numbered over all images.
    fn piece(&self, piece: usize, bands: Range<usize>, own: &mut [f32], bias: &mut [f32]) {
        let (plan, g) = (&self.plan, &self.plan.g);
        let (panels, copy) = own.split_at_mut(plan.panels * plan.panel_len());
        let first = bands.start;
        for (band, bias) in bands.zip(bias.chunks_exact_mut(g.filters)) {
            let image = band / plan.bands;
            let top = band % plan.bands * plan.rows;
            let rows = top..(top + plan.rows).min(g.out_height());
            self.pack(image, &rows, panels, bias);
            let x = self.covered(image, &rows, copy);
            let (sums, goes_on) = (piece * plan.sums_len(), band > first);
            let band = Band { rows, x, panels, sums, goes_on };
            for panel in 0..plan.panels {
                for kh in 0..g.window.0 {
                    (0..plan.strips.parts).for_each(|strip| self.tile(&band, panel, strip, kh));
                }
            }
        }
    }

    /// Packs a band of dy into panels `[panel][pixel][column]` and sums it over its pixels.
    fn pack(&self, image: usize, rows: &Range<usize>, panels: &mut [f32], bias: &mut [f32]) {
        let (plan, g) = (&self.plan, &self.plan.g);
        let pixels = rows.len() * g.out_width();
        let first = (image * g.out_height() + rows.start) * g.out_width() * g.filters;
        let width = plan.isa.columns();
        let biases = bias.chunks_mut(width);
        for (idx, (panel, bias)) in
            panels.chunks_exact_mut(plan.panel_len()).zip(biases).enumerate()
        {
            let panel = &mut panel[..pixels * width];
            let dy = &self.dy[first + idx * width..];
            gemm::copy_rows(dy, g.filters, bias.len(), width, panel);
            pixels::add_pixels(panel, width, bias);
        }
    }

    /// The rows of x that a band covers: in place, or for padded ones a copy with zeros.
    fn covered<'v>(
        &'v self,
        image: usize,
        rows: &Range<usize>,
        copy: &'v mut [f32],
    ) -> CoveredRows<'v> {
        let (plan, g) = (&self.plan, &self.plan.g);
        let row = g.width * g.channels;
        let image = &self.x[image * g.height * row..(image + 1) * g.height * row];
        if !plan.needs_copy() {
            return CoveredRows { floats: image, row, top: 0 };
        }
        let top = (rows.start * g.stride).saturating_sub(g.pad.top).min(g.height);
        let end = ((rows.end - 1) * g.stride + g.window.0).saturating_sub(g.pad.top).min(g.height);
        let covered = plan.covered_columns * g.channels;
        let left = (g.pad.left * g.channels).min(covered);
        let some = row.min(covered - left);
        for (line, copy) in (top..end).zip(copy.chunks_exact_mut(covered)) {
            copy[..left].fill(0.0);
            copy[left..left + some].copy_from_slice(&image[line * row..line * row + some]);
            copy[left + some..].fill(0.0);
        }
        CoveredRows { floats: copy, row: covered, top }
    }

    fn tile(&self, band: &Band<'_>, panel: usize, strip: usize, kh: usize) {
        let Band { rows, x, panels, sums, goes_on } = band;
        let (plan, g) = (&self.plan, &self.plan.g);
        let width = plan.isa.columns();
        let (first, count) = plan.strips.part(strip);
        let down = Span::new(rows.clone(), kh, g.stride, g.pad.top, g.height);
        let line = (down.first * g.stride + kh).saturating_sub(g.pad.top + x.top);
        let k = kh * g.window.1 * g.channels + first;
        let below = down.first.saturating_sub(rows.start) * g.out_width() * width;
        let tile = Tile {
            rows: count,
            columns: width.min(g.filters - panel * width),
            a: x.floats.get(line * x.row + first..).unwrap_or(&[]),
            layout: Layout::Columns(g.stride * g.channels),
            b: panels.get(panel * plan.panel_len() + below..).unwrap_or(&[]),
            outer: Loop::ONCE,
            middle: Loop { count: down.count, a: g.stride * x.row, b: g.out_width() * width },
            inner: g.out_width(),
            c: sums + (panel * plan.depth() + k) * width,
            c_row: width,
            start: if *goes_on { Start::Sum } else { Start::Zero },
            relu: false,
            last: false, // sums of bands and pieces are added before unpacking
        };
        // SAFETY: a piece has its own sums.
        unsafe { plan.isa.tile(&tile, &self.sums) };
    }
}
