//! The convolution on the CPU: no image is unfolded, the register tile reads it where it lies.
//!
//! Forward and the input's gradient are the same [`direct`] convolution, the latter over dy with
//! turned filters; the filters' gradient sums over the [`pixels`] of the batch.

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

/// Floats of scratch memory for any of the three passes.
pub(super) fn scratch(isa: Isa, g: &Geometry, threads: usize) -> usize {
    let images = |direct: &Direct, fold| match by_winograd(g, direct, fold) {
        true => winograd::scratch(isa, direct, fold, threads),
        false => direct.scratch(isa, threads),
    };
    let (direct, fold) = forward_form(g);
    let forward = images(&direct, fold);
    let phases = phases(g).map(|phase| images(&phase.direct, None));
    let filter = match (by_winograd(g, &direct, fold), few_channels::suits(g)) {
        (true, _) => winograd::filter_scratch(isa, &direct, fold, threads),
        (false, true) => few_channels::scratch(isa, g, threads),
        (false, false) => pixels::scratch(isa, g),
    };
    phases.chain([forward, filter]).max().expect("the forward pass is one")
}

/// The forward pass: over folded images, where that allows and repays Winograd's form.
fn forward_form(g: &Geometry) -> (Direct, Option<Fold>) {
    let folded = Fold::new(g).map(|fold| (fold.direct(), Some(fold)));
    let folded = folded.filter(|(direct, fold)| by_winograd(g, direct, *fold));
    folded.unwrap_or_else(|| (as_direct(g), None))
}

/// Whether a pass takes Winograd's form.
fn by_winograd(g: &Geometry, direct: &Direct, fold: Option<Fold>) -> bool {
    let products = match fold {
        Some(_) => g.images * g.macs_per_image(),
        None => direct.images * direct.out[0] * direct.out[1] * direct.depth() * direct.channels,
    };
    match g.algorithm {
        Algorithm::Fastest => winograd::suits(direct, products),
        Algorithm::Winograd => winograd::applies(direct),
        Algorithm::Direct => false,
    }
}

/// The form of the forward pass and of the filters' gradient.
pub(super) fn settled(g: &Geometry) -> Algorithm {
    let (direct, fold) = forward_form(g);
    if by_winograd(g, &direct, fold) { Algorithm::Winograd } else { Algorithm::Direct }
}

/// Convolves images: directly or by Winograd's form.
#[allow(clippy::too_many_arguments)]
fn run(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    (direct, fold): (&Direct, Option<Fold>),
    source: &[f32],
    bias: Option<&[f32]>,
    target: &mut [f32],
    scratch: &mut [f32],
    pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
) {
    match by_winograd(g, direct, fold) {
        true => winograd::run((direct, fold), isa, pool, source, bias, target, scratch, pack),
        false => direct.run(isa, pool, source, bias, target, scratch, pack),
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
    let (direct, fold) = forward_form(g);
    let (depth, filters) = (direct.depth(), g.filters / g.groups);
    run(isa, pool, g, (&direct, fold), x, Some(b), y, scratch, |group, columns, panel| {
        if let Some(fold) = fold {
            return fold.pack(w, columns, isa.columns(), panel);
        }
        let first = group * filters + columns.start;
        gemm::transpose_panel(&w[first * depth..], depth, columns.len(), isa.columns(), panel);
    });
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
        run(isa, pool, g, (&direct, None), dy, None, dx, scratch, |group, columns, panel| {
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
    let (direct, fold) = forward_form(g);
    match (by_winograd(g, &direct, fold), few_channels::suits(g)) {
        (true, _) => {
            winograd::backward_filter(isa, pool, g, (&direct, fold), x, dy, dw, db, scratch)
        }
        (false, true) => few_channels::backward_filter(isa, pool, g, x, dy, dw, db, scratch),
        (false, false) => pixels::backward_filter(isa, pool, g, x, dy, dw, db, scratch),
    }
}

/// Cuts `scratch` in two.
fn cut(scratch: &mut [f32], len: usize) -> (Shared<'_>, &mut [f32]) {
    assert!(scratch.len() >= len, "scratch of {} floats is too small", scratch.len());
    let (front, back) = scratch.split_at_mut(len);
    (Shared::new(front), back)
}
