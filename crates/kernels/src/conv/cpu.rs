//! The convolution on the CPU: no image is unfolded, the register tile reads it where it lies.
//!
//! Forward and the input's gradient are the same [`direct`] convolution, the latter over dy with
//! turned filters; the filters' gradient sums over the [`pixels`] of the batch.
//!
//! The floor of each way stands in its file.

pub(super) mod bf16;
mod direct;
mod few_channels;
mod pixels;
mod winograd;

use super::{Algorithm, Geometry};
use crate::gemm::{self, Isa, Shared};
use direct::{Direct, Target};
use std::ops::Range;
use tensor::Pool;
use winograd::Fold;

/// Floats of scratch memory for any of the three passes, and for filters that are kept.
pub(super) fn scratch(isa: Isa, g: &Geometry, threads: usize) -> usize {
    let whole = |form: Form| form.filters_len(isa) + form.work_len(isa, threads);
    let form = Form::forward(g, Filters::Fresh);
    let phases = phases(g).map(|phase| whole(Form::new(g, phase.direct, None, Filters::Fresh)));
    let filter = match (form.by_winograd, few_channels::suits(g)) {
        (true, _) => winograd::filter_scratch(isa, &form.direct, form.fold, threads),
        (false, true) => few_channels::scratch(isa, g, threads),
        (false, false) => pixels::scratch(isa, g),
    };
    let kept = Form::forward(g, Filters::Kept).work_len(isa, threads);
    phases.chain([whole(form), filter, kept]).max().expect("the forward pass is one")
}

/// Where a pass finds its filters in the form in which it multiplies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filters {
    /// It brings them into it.
    Fresh,
    /// They have been kept.
    Kept,
}

/// How images are convolved: directly or by Winograd's form, perhaps folded as they are read.
#[derive(Clone, Copy, Debug)]
struct Form {
    direct: Direct,
    fold: Option<Fold>,
    by_winograd: bool,
}

impl Form {
    fn new(g: &Geometry, direct: Direct, fold: Option<Fold>, filters: Filters) -> Form {
        let [rows, columns] = direct.out;
        let products = match fold {
            Some(_) => g.images * g.macs_per_image(),
            None => direct.images * rows * columns * direct.depth() * direct.channels,
        };
        let by_winograd = match g.algorithm {
            Algorithm::Fastest => winograd::suits(&direct, products, filters == Filters::Kept),
            Algorithm::Winograd => winograd::applies(&direct),
            Algorithm::Direct => false,
        };
        Form { direct, fold, by_winograd }
    }

    /// The forward pass: over folded images, where that allows and repays Winograd's form.
    fn forward(g: &Geometry, filters: Filters) -> Form {
        Fold::new(g)
            .map(|fold| Form::new(g, fold.direct(), Some(fold), filters))
            .filter(|form| form.by_winograd)
            .unwrap_or_else(|| Form::new(g, as_direct(g), None, filters))
    }

    /// Floats of the filters in this form.
    fn filters_len(&self, isa: Isa) -> usize {
        if self.by_winograd {
            winograd::filters_len(isa, &self.direct, self.fold)
        } else {
            self.direct.packed(isa)
        }
    }

    /// Floats of scratch memory beside the filters.
    fn work_len(&self, isa: Isa, threads: usize) -> usize {
        if self.by_winograd {
            winograd::work_len(isa, &self.direct, self.fold, threads)
        } else {
            self.direct.work_len(isa, threads)
        }
    }

    /// Brings filters into this form. `pack(group, columns, panel)` fills the panel of these
    /// columns of the group's filters.
    fn pack(
        &self,
        isa: Isa,
        pool: &Pool,
        filters: &mut [f32],
        work: &mut [f32],
        pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        if self.by_winograd {
            winograd::pack((&self.direct, self.fold), isa, pool, filters, work, pack)
        } else {
            self.direct.pack(isa, pool, filters, pack)
        }
    }

    /// Convolves with filters in this form.
    #[allow(clippy::too_many_arguments)]
    fn convolve(
        &self,
        isa: Isa,
        pool: &Pool,
        source: &[f32],
        filters: &[f32],
        bias: Option<&[f32]>,
        target: &mut [f32],
        work: &mut [f32],
    ) {
        let Form { direct, fold, .. } = self;
        if self.by_winograd {
            winograd::run((direct, *fold), isa, pool, source, filters, bias, target, work);
        } else {
            direct.run(isa, pool, source, filters, bias, target, work)
        }
    }

    /// Both, the filters in scratch memory.
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        isa: Isa,
        pool: &Pool,
        source: &[f32],
        bias: Option<&[f32]>,
        target: &mut [f32],
        scratch: &mut [f32],
        pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        let (filters, work) = split(scratch, self.filters_len(isa));
        self.pack(isa, pool, filters, work, pack);
        self.convolve(isa, pool, source, filters, bias, target, work);
    }
}

fn as_direct(g: &Geometry) -> Direct {
    let (rows, columns) = (g.out_height(), g.out_width());
    Direct {
        images: g.images,
        source: [g.height, g.width, g.channels],
        groups: g.groups,
        taps: [g.window.0, g.window.1],
        step: g.stride,
        pad: [g.pad.top as isize, g.pad.left as isize],
        out: [rows, columns],
        target: Target {
            first: 0,
            image: rows * columns * g.filters,
            row: columns * g.filters,
            column: g.filters,
        },
        channels: g.filters,
        relu: g.relu,
    }
}

/// `y = conv(x, w) + b`.
#[allow(clippy::too_many_arguments)]
pub(super) fn forward(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    x: &[f32],
    w: &[f32],
    b: &[f32],
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let form = Form::forward(g, Filters::Fresh);
    form.run(isa, pool, x, Some(b), y, scratch, pack_forward(isa, g, form, w));
}

/// Packs panels of w for the forward pass.
fn pack_forward(
    isa: Isa,
    g: &Geometry,
    form: Form,
    w: &[f32],
) -> impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send {
    let (depth, filters, width) = (form.direct.depth(), g.filters / g.groups, isa.columns());
    move |group, columns, panel| match form.fold {
        Some(fold) => fold.pack(w, columns, width, panel),
        None => {
            let first = group * filters + columns.start;
            gemm::transpose_panel(&w[first * depth..], depth, columns.len(), width, panel);
        }
    }
}

/// The form of the forward pass and of the filters' gradient.
pub(super) fn settled(g: &Geometry) -> Algorithm {
    if Form::forward(g, Filters::Fresh).by_winograd {
        Algorithm::Winograd
    } else {
        Algorithm::Direct
    }
}

/// Floats of the filters as [`forward_kept`] multiplies them.
pub(super) fn kept(isa: Isa, g: &Geometry) -> usize {
    Form::forward(g, Filters::Kept).filters_len(isa)
}

/// Brings w into that form.
pub(super) fn keep(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    w: &[f32],
    kept: &mut [f32],
    scratch: &mut [f32],
) {
    let form = Form::forward(g, Filters::Kept);
    form.pack(isa, pool, kept, scratch, pack_forward(isa, g, form, w));
}

/// [`forward`] with filters that [`keep`] has brought into form.
#[allow(clippy::too_many_arguments)]
pub(super) fn forward_kept(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    x: &[f32],
    kept: &[f32],
    b: &[f32],
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let form = Form::forward(g, Filters::Kept);
    form.convolve(isa, pool, x, kept, Some(b), y, scratch);
}

/// One of the `stride x stride` phases of the input's gradient: input pixels that lie a multiple of
/// the stride apart meet the same taps of the filters, and for them the gradient is a convolution
/// over dy with step 1 and these taps in reverse.
struct Phase {
    direct: Direct,
    /// The first tap, down and across; the others follow `stride` apart.
    tap: [usize; 2],
}

fn phases(g: &Geometry) -> impl Iterator<Item = Phase> {
    let g = *g;
    let both = (0..g.stride).flat_map(move |v| (0..g.stride).map(move |h| [v, h]));
    both.filter_map(move |tap| phase(&g, tap))
}

/// The phase whose first tap is `tap`; none if no input pixel is in it.
fn phase(g: &Geometry, tap: [usize; 2]) -> Option<Phase> {
    let axis = |tap: usize, size: usize, window: usize, pad: usize| {
        // Input pixel p meets tap t of the output pixel o where p + pad = stride o + t.
        let first = (tap + g.stride - pad % g.stride) % g.stride;
        let count = size.saturating_sub(first).div_ceil(g.stride);
        let taps = window.saturating_sub(tap).div_ceil(g.stride);
        let farthest = ((first + pad) as isize - tap as isize) / g.stride as isize;
        (first, count, taps, taps as isize - 1 - farthest)
    };
    let (top, rows, taps_down, pad_top) = axis(tap[0], g.height, g.window.0, g.pad.top);
    let (left, columns, taps_across, pad_left) = axis(tap[1], g.width, g.window.1, g.pad.left);
    let direct = Direct {
        images: g.images,
        source: [g.out_height(), g.out_width(), g.filters],
        groups: g.groups,
        taps: [taps_down, taps_across],
        step: 1,
        pad: [pad_top, pad_left],
        out: [rows, columns],
        target: Target {
            first: (top * g.width + left) * g.channels,
            image: g.height * g.width * g.channels,
            row: g.stride * g.width * g.channels,
            column: g.stride * g.channels,
        },
        channels: g.channels,
        relu: false,
    };
    (rows > 0 && columns > 0).then_some(Phase { direct, tap })
}

/// The gradient of the input.
pub(super) fn backward_input(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let (filters, channels) = (g.filters / g.groups, g.channels / g.groups);
    for Phase { direct, tap } in phases(g) {
        let [taps_down, taps_across] = direct.taps;
        let form = Form::new(g, direct, None, Filters::Fresh);
        form.run(isa, pool, dy, None, dx, scratch, |group, columns, panel| {
            let width = isa.columns();
            for down in 0..taps_down {
                for across in 0..taps_across {
                    let kh = tap[0] + g.stride * (taps_down - 1 - down);
                    let kw = tap[1] + g.stride * (taps_across - 1 - across);
                    let run = (down * taps_across + across) * filters * width;
                    let first = group * filters;
                    let at = |f: usize| ((f * g.window.0 + kh) * g.window.1 + kw) * channels;
                    gemm::copy_rows(
                        &w[at(first) + columns.start..],
                        g.window.0 * g.window.1 * channels,
                        columns.len(),
                        width,
                        &mut panel[run..run + filters * width],
                    );
                }
            }
        });
    }
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
    let Form { direct, fold, by_winograd } = Form::forward(g, Filters::Fresh);
    match (by_winograd, few_channels::suits(g)) {
        (true, _) => {
            winograd::backward_filter(isa, pool, g, (&direct, fold), x, dy, dw, db, scratch)
        }
        (false, true) => few_channels::backward_filter(isa, pool, g, x, dy, dw, db, scratch),
        (false, false) => pixels::backward_filter(isa, pool, g, x, dy, dw, db, scratch),
    }
}

/// Cuts `scratch` in two.
fn split(scratch: &mut [f32], len: usize) -> (&mut [f32], &mut [f32]) {
    assert!(scratch.len() >= len, "scratch of {} floats is too small", scratch.len());
    scratch.split_at_mut(len)
}

/// [`split`], the first part for threads to share.
fn cut(scratch: &mut [f32], len: usize) -> (Shared<'_>, &mut [f32]) {
    let (front, back) = split(scratch, len);
    (Shared::new(front), back)
}
