//! The gradient of the filters where images have few channels, as in conv1, computed directly.
//!
//! As in [`pixels`](super::pixels) k runs over pixels and the vectors along f, but three channels
//! would not fill the rows of a tile: they run over a row of the window instead, `window x
//! channels` floats that lie next to each other in the image. The maps are large here and the
//! filters few, so work is divided by pixels: the batch is cut into pieces, each with sums of its
//! own, which are added up in the order of the pieces. How many there are depends on the shape
//! alone, and so do the bits. A band of dy's rows is packed by the thread that is about to read it
//! and stays in its cache while all tiles pass over it.
//!
//! The floor: two operations a multiplication at the peak of the multiply-adds, or dy read once
//! from memory.

use super::cut;
use super::pixels::{self, Span};
use crate::conv::Geometry;
use crate::gemm::{self, Cut, Isa, Layout, Loop, Shared, Start, Tile};
use std::ops::Range;
use tensor::Pool;

/// Fewer channels than this are few.
const FEW: usize = 12;
/// Pieces that keep all threads busy to the end.
const PIECES: usize = 16;
/// Pixels in a band, at least: a panel of so many takes half of the first-level cache.
const BAND_PIXELS: usize = 160;

/// Whether this is the way to go.
pub(super) fn suits(g: &Geometry) -> bool {
    g.groups == 1 && g.channels < FEW
}

#[derive(Clone, Copy)]
struct Plan {
    g: Geometry,
    isa: Isa,
    panels: usize,
    /// The rows of a tile.
    strips: Cut,
    /// Rows of dy in a band, and bands in an image.
    rows: usize,
    bands: usize,
    pieces: usize,
    /// Columns of an image that windows see; more than it has where it is padded.
    seen: usize,
}

impl Plan {
    fn new(isa: Isa, g: &Geometry) -> Plan {
        let rows = BAND_PIXELS.div_ceil(g.out_width()).min(g.out_height());
        let bands = g.out_height().div_ceil(rows);
        Plan {
            g: *g,
            isa,
            panels: g.filters.div_ceil(isa.columns()),
            strips: isa.cut(g.window.1 * g.channels),
            rows,
            bands,
            pieces: PIECES.min(g.images * bands),
            seen: (g.out_width() - 1) * g.stride + g.window.1,
        }
    }

    fn needs_copy(&self) -> bool {
        self.g.pad.left > 0 || self.seen > self.g.width
    }

    /// Floats of a panel of dy, for one band.
    fn panel_len(&self) -> usize {
        self.rows * self.g.out_width() * self.isa.columns()
    }

    /// Floats of a copy of what a band sees of x.
    fn copy_len(&self) -> usize {
        let rows = ((self.rows - 1) * self.g.stride + self.g.window.0).min(self.g.height);
        if self.needs_copy() { rows * self.seen * self.g.channels } else { 0 }
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

    /// A sum over dy for each band and filter.
    fn bias_len(&self) -> usize {
        self.g.images * self.bands * self.g.filters
    }
}

pub(super) fn scratch(isa: Isa, g: &Geometry, threads: usize) -> usize {
    let plan = Plan::new(isa, g);
    plan.pieces * plan.sums_len() + threads * plan.thread_len() + plan.bias_len()
}

/// The gradients of filters and biases.
#[allow(clippy::too_many_arguments)]
pub(super) fn backward_filter(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
    scratch: &mut [f32],
) {
    let plan = Plan::new(isa, g);
    let (sums, rest) = cut(scratch, plan.pieces * plan.sums_len());
    let (own, rest) = cut(rest, pool.threads() * plan.thread_len());
    let (bias, _) = cut(rest, plan.bias_len());
    let work = Work { plan, x, dy, sums };
    pool.each_with_thread(plan.pieces, |piece, thread| {
        let edge = |piece: usize| piece * g.images * plan.bands / plan.pieces;
        let bands = edge(piece)..edge(piece + 1);
        // SAFETY: each thread has its own part and runs one piece at a time; each piece its own
        // bands.
        let (own, bias) = unsafe {
            let own = own.part(thread * plan.thread_len()..(thread + 1) * plan.thread_len());
            (own, bias.part(bands.start * g.filters..bands.end * g.filters))
        };
        work.piece(piece, bands, own, bias);
    });
    add_pieces(pool, &sums, plan.pieces, plan.sums_len());
    // SAFETY: all threads are done with both.
    let (sums, bias) = unsafe { (sums.part(0..plan.sums_len()), bias.part(0..plan.bias_len())) };
    pixels::unpack(isa, pool, g, sums, dw);
    pixels::add_biases(bias, db);
}

/// Adds the other pieces to the first.
pub(super) fn add_pieces(pool: &Pool, sums: &Shared<'_>, pieces: usize, len: usize) {
    const RUN: usize = 4096;
    pool.each(len.div_ceil(RUN), |run| {
        let run = run * RUN..((run + 1) * RUN).min(len);
        for piece in 1..pieces {
            // SAFETY: each call has its own run of every piece, and they do not overlap.
            let (first, other) = unsafe {
                let other = piece * len + run.start..piece * len + run.end;
                (sums.part(run.clone()), sums.part(other))
            };
            first.iter_mut().zip(other).for_each(|(first, other)| *first += *other);
        }
    });
}

struct Work<'a> {
    plan: Plan,
    x: &'a [f32],
    dy: &'a [f32],
    sums: Shared<'a>,
}

/// The rows of one image's x that a band sees.
#[derive(Clone, Copy)]
struct View<'a> {
    floats: &'a [f32],
    /// From one row to the next.
    row: usize,
    /// The row of the image that comes first.
    top: usize,
}

impl Work<'_> {
    /// Some bands, counted through all images.
    fn piece(&self, piece: usize, bands: Range<usize>, own: &mut [f32], bias: &mut [f32]) {
        let (plan, g) = (&self.plan, &self.plan.g);
        let (panels, copy) = own.split_at_mut(plan.panels * plan.panel_len());
        let first = bands.start;
        for (band, bias) in bands.zip(bias.chunks_exact_mut(g.filters)) {
            let image = band / plan.bands;
            let top = band % plan.bands * plan.rows;
            let rows = top..(top + plan.rows).min(g.out_height());
            self.pack(image, &rows, panels, bias);
            let view = self.view(image, &rows, copy);
            for panel in 0..plan.panels {
                for kh in 0..g.window.0 {
                    for strip in 0..plan.strips.parts {
                        let c = piece * plan.sums_len();
                        self.tile(panel, strip, kh, &rows, view, panels, (c, band > first));
                    }
                }
            }
        }
    }

    /// Packs a band of dy into panels `[panel][pixel][column]` and adds it up.
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

    /// What a band sees of x: where it lies, or, where it is padded, a copy with zeros beside it.
    fn view<'v>(&'v self, image: usize, rows: &Range<usize>, copy: &'v mut [f32]) -> View<'v> {
        let (plan, g) = (&self.plan, &self.plan.g);
        let row = g.width * g.channels;
        let image = &self.x[image * g.height * row..(image + 1) * g.height * row];
        if !plan.needs_copy() {
            return View { floats: image, row, top: 0 };
        }
        let top = (rows.start * g.stride).saturating_sub(g.pad.top).min(g.height);
        let end = ((rows.end - 1) * g.stride + g.window.0).saturating_sub(g.pad.top).min(g.height);
        let seen = plan.seen * g.channels;
        let left = (g.pad.left * g.channels).min(seen);
        let some = row.min(seen - left);
        for (line, copy) in (top..end).zip(copy.chunks_exact_mut(seen)) {
            copy[..left].fill(0.0);
            copy[left..left + some].copy_from_slice(&image[line * row..line * row + some]);
            copy[left + some..].fill(0.0);
        }
        View { floats: copy, row: seen, top }
    }

    #[allow(clippy::too_many_arguments)]
    fn tile(
        &self,
        panel: usize,
        strip: usize,
        kh: usize,
        rows: &Range<usize>,
        view: View<'_>,
        panels: &[f32],
        (sums, goes_on): (usize, bool),
    ) {
        let (plan, g) = (&self.plan, &self.plan.g);
        let width = plan.isa.columns();
        let (first, count) = plan.strips.part(strip);
        let down = Span::new(rows.clone(), kh, g.stride, g.pad.top, g.height);
        let line = (down.first * g.stride + kh).saturating_sub(g.pad.top + view.top);
        let k = kh * g.window.1 * g.channels + first;
        let below = down.first.saturating_sub(rows.start) * g.out_width() * width;
        let tile = Tile {
            rows: count,
            columns: width.min(g.filters - panel * width),
            a: view.floats.get(line * view.row + first..).unwrap_or(&[]),
            layout: Layout::Columns(g.stride * g.channels),
            b: panels.get(panel * plan.panel_len() + below..).unwrap_or(&[]),
            outer: Loop::ONCE,
            middle: Loop { count: down.count, a: g.stride * view.row, b: g.out_width() * width },
            inner: g.out_width(),
            c: sums + (panel * plan.depth() + k) * width,
            c_row: width,
            start: if goes_on { Start::Sum } else { Start::Zero },
            relu: false,
            last: false, // bands and pieces are added up before they are unpacked
        };
        // SAFETY: a piece has its own sums.
        unsafe { plan.isa.tile(&tile, &self.sums) };
    }
}
