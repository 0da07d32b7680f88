//! The convolution on the CPU, without im2col: the register tile reads the image in place.
//!
//! Forward and the gradient of the input are both [`direct`] convolutions, the latter over dy with
//! flipped filters; the gradient of the filters sums over the [`pixels`] of the batch.
//!
//! Lower bounds: see each algorithm's file.

pub(super) mod bf16;
mod direct;
mod few_channels;
mod pixels;
mod winograd;

use super::{Algorithm, Geometry};
use crate::gemm::{self, Isa, SharedFloats};
use crate::operands::{
    BackwardInput, BackwardInputSlices, BackwardWeightsSlices, Forward, ForwardSlices,
};
use direct::{Direct, OutputLayout};
use std::ops::Range;
use tensor::Pool;
use winograd::{Fold, WinogradPlan};

/// Floats of scratch memory that suffice for each of the three passes, and with packed filters.
pub(super) fn scratch(isa: Isa, g: &Geometry, threads: usize) -> usize {
    let whole = |plan: ConvPlan| plan.filters_len(isa) + plan.work_len(isa, threads);
    let forward = ConvPlan::forward(g, Filters::Unpacked);
    let phases = phases(g);
    let phases = phases.map(|phase| whole(ConvPlan::new(g, phase.direct, None, Filters::Unpacked)));
    let filter = match (forward.by_winograd, few_channels::suits(g)) {
        (true, _) => forward.winograd(isa).gradient_scratch(threads),
        (false, true) => few_channels::scratch(isa, g, threads),
        (false, false) => pixels::scratch(isa, g),
    };
    let packed = ConvPlan::forward(g, Filters::Packed).work_len(isa, threads);
    phases.chain([whole(forward), filter, packed]).max().expect("at least the forward pass")
}
/// Whether a pass has to pack its filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filters {
    /// They are packed in each pass.
    Unpacked,
    /// They were packed before.
    Packed,
}

/// How images are convolved: directly or by Winograd's algorithm, perhaps folded.
#[derive(Clone, Copy, Debug)]
struct ConvPlan {
    direct: Direct,
    fold: Option<Fold>,
    by_winograd: bool,
}

impl ConvPlan {
    fn new(g: &Geometry, direct: Direct, fold: Option<Fold>, filters: Filters) -> ConvPlan {
        let [rows, columns] = direct.out;
        let products = match fold {
            Some(_) => g.images * g.macs_per_image(),
            None => direct.images * rows * columns * direct.depth() * direct.channels,
        };
        let by_winograd = match g.algorithm {
            Algorithm::Fastest => winograd::suits(&direct, products, filters == Filters::Packed),
            Algorithm::Winograd => winograd::applies(&direct),
            Algorithm::Direct => false,
        };
        ConvPlan { direct, fold, by_winograd }
    }

    /// The forward pass: folded, if that is possible and makes Winograd's algorithm faster.
    fn forward(g: &Geometry, filters: Filters) -> ConvPlan {
        Fold::new(g)
            .map(|fold| ConvPlan::new(g, fold.direct(), Some(fold), filters))
            .filter(|plan| plan.by_winograd)
            .unwrap_or_else(|| ConvPlan::new(g, as_direct(g), None, filters))
    }

    fn winograd(&self, isa: Isa) -> WinogradPlan {
        WinogradPlan::new(isa, &self.direct, self.fold)
    }

    /// Floats of packed filters.
    fn filters_len(&self, isa: Isa) -> usize {
        if self.by_winograd {
            self.winograd(isa).filters_len()
        } else {
            self.direct.filters_len(isa)
        }
    }

    /// Floats of scratch memory besides the filters.
    fn work_len(&self, isa: Isa, threads: usize) -> usize {
        if self.by_winograd {
            self.winograd(isa).work_len(threads)
        } else {
            self.direct.work_len(isa, threads)
        }
    }

    /// Packs filters. `pack(group, columns, panel)` fills the panel of these columns of the group's
    /// filters.
    fn pack(
        &self,
        isa: Isa,
        pool: &Pool,
        filters: &mut [f32],
        work: &mut [f32],
        pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        if self.by_winograd {
            self.winograd(isa).pack(pool, filters, work, pack)
        } else {
            self.direct.pack(isa, pool, filters, pack)
        }
    }

    /// Convolves with packed filters.
    fn convolve(&self, isa: Isa, pool: &Pool, operands: PackedOperands<'_>) {
        if self.by_winograd {
            self.winograd(isa).run(pool, operands);
        } else {
            self.direct.run(isa, pool, operands);
        }
    }

    /// Packs filters with `pack` into the first part of `operands.work`, and convolves.
    fn run(
        &self,
        isa: Isa,
        pool: &Pool,
        operands: PackedOperands<'_>,
        pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        let (filters, work) = split(operands.work, self.filters_len(isa));
        self.pack(isa, pool, filters, work, pack);
        self.convolve(isa, pool, PackedOperands { filters, work, ..operands });
    }
}

/// Operands of a convolution with packed filters of type `F`, input of type `S` and output of type
/// `T`.
pub(super) struct PackedOperands<'a, F = f32, S = f32, T = f32> {
    pub source: &'a [S],
    pub filters: &'a [F],
    pub bias: Option<&'a [f32]>,
    pub target: &'a mut [T],
    /// Scratch memory.
    pub work: &'a mut [f32],
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
        target: OutputLayout {
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
pub(super) fn forward(isa: Isa, pool: &Pool, g: &Geometry, operands: ForwardSlices<'_>) {
    let Forward { x, w, b, y, scratch } = operands;
    let plan = ConvPlan::forward(g, Filters::Unpacked);
    let operands =
        PackedOperands { source: x, filters: &[], bias: Some(b), target: y, work: scratch };
    plan.run(isa, pool, operands, pack_forward(isa, g, plan, w));
}

/// Packs panels of w for the forward pass.
fn pack_forward(
    isa: Isa,
    g: &Geometry,
    plan: ConvPlan,
    w: &[f32],
) -> impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send {
    let (depth, filters, width) = (plan.direct.depth(), g.filters / g.groups, isa.columns());
    move |group, columns, panel| match plan.fold {
        Some(fold) => fold.pack(w, columns, width, panel),
        None => {
            let first = group * filters + columns.start;
            gemm::transpose_panel(&w[first * depth..], depth, columns.len(), width, panel);
        }
    }
}

/// The algorithm of the forward pass and of the filters' gradient.
pub(super) fn resolved(g: &Geometry) -> Algorithm {
    if ConvPlan::forward(g, Filters::Unpacked).by_winograd {
        Algorithm::Winograd
    } else {
        Algorithm::Direct
    }
}

/// Floats of the filters that [`pack_weights`] writes.
pub(super) fn packed_len(isa: Isa, g: &Geometry) -> usize {
    ConvPlan::forward(g, Filters::Packed).filters_len(isa)
}

/// Packs w for [`forward_packed`].
pub(super) fn pack_weights(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    w: &[f32],
    packed: &mut [f32],
    scratch: &mut [f32],
) {
    let plan = ConvPlan::forward(g, Filters::Packed);
    plan.pack(isa, pool, packed, scratch, pack_forward(isa, g, plan, w));
}

/// [`forward`] with packed filters: `w` is what [`pack_weights`] has written.
pub(super) fn forward_packed(isa: Isa, pool: &Pool, g: &Geometry, operands: ForwardSlices<'_>) {
    let Forward { x, w, b, y, scratch } = operands;
    let operands =
        PackedOperands { source: x, filters: w, bias: Some(b), target: y, work: scratch };
    ConvPlan::forward(g, Filters::Packed).convolve(isa, pool, operands);
}

/// One of the `stride x stride` phases of the input's gradient. Input pixels that are a multiple of
/// the stride apart use the same taps of the filters; their gradient is a convolution over dy with
/// step 1 and these taps in reverse order.
struct Phase {
    direct: Direct,
    /// The first tap, down and across; the others follow at a distance of `stride`.
    tap: [usize; 2],
}

fn phases(g: &Geometry) -> impl Iterator<Item = Phase> {
    let g = *g;
    let both = (0..g.stride).flat_map(move |v| (0..g.stride).map(move |h| [v, h]));
    both.filter_map(move |tap| phase(&g, tap))
}

/// The phase whose first tap is `tap`; `None` if it has no input pixel.
fn phase(g: &Geometry, tap: [usize; 2]) -> Option<Phase> {
    let axis = |tap: usize, size: usize, window: usize, pad: usize| {
        // Tap t of output pixel o is on input pixel p where p + pad = stride o + t.
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
        target: OutputLayout {
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
    BackwardInput { dy, w, dx, scratch }: BackwardInputSlices<'_>,
) {
    let (filters, channels) = (g.filters / g.groups, g.channels / g.groups);
    for Phase { direct, tap } in phases(g) {
        let [taps_down, taps_across] = direct.taps;
        let plan = ConvPlan::new(g, direct, None, Filters::Unpacked);
        let (target, work) = (&mut *dx, &mut *scratch);
        let operands = PackedOperands { source: dy, filters: &[], bias: None, target, work };
        plan.run(isa, pool, operands, |group, columns, panel| {
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
pub(super) fn backward_filter(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    operands: BackwardWeightsSlices<'_>,
) {
    let plan = ConvPlan::forward(g, Filters::Unpacked);
    match (plan.by_winograd, few_channels::suits(g)) {
        (true, _) => plan.winograd(isa).backward_filter(pool, g, operands),
        (false, true) => few_channels::backward_filter(isa, pool, g, operands),
        (false, false) => pixels::backward_filter(isa, pool, g, operands),
    }
}

/// Splits off the first `len` floats of `scratch`.
fn split(scratch: &mut [f32], len: usize) -> (&mut [f32], &mut [f32]) {
    assert!(scratch.len() >= len, "scratch of {} floats is too small", scratch.len());
    scratch.split_at_mut(len)
}

/// [`split`], with a first part that threads share.
fn split_shared(scratch: &mut [f32], len: usize) -> (SharedFloats<'_>, &mut [f32]) {
    let (front, back) = split(scratch, len);
    (SharedFloats::new(front), back)
}
