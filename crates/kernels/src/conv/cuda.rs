//! On a GPU: three products whose operands are read where they lie, a product for each group.
//!
//! They are made in the way that is chosen for them ([`tensor::tune`]): in one of our own cuts, or
//! by cuDNN, if it can. Then the product is its own, and the kernel that adds slices up does the
//! rest: bias and ReLU come to a slice alone, so that a NaN stays one whatever cuDNN's own ReLU
//! makes of it; and a bias's gradient is the sum over pixels, each of them a slice, or several one
//! after the other.

use super::Geometry;
use crate::gemm::cuda::{Cut, Kernels, Sum, is_wide};
use tensor::cudnn::{Convolution, Pass};
use tensor::tune::{Way, Work};
use tensor::{Address, Argument, Cuda, Image, Result, Shape, Slot};

static IMAGE: Image = Image { op: "conv", bytes: include_bytes!("conv.fatbin") };
static SUM: Sum = Sum { image: &IMAGE, kernel: "conv_sum" };
static FORWARD: Kernels = Kernels {
    f32: ["conv_forward", "conv_forward_small"],
    tf32: ["conv_forward_tf32", "conv_forward_small_tf32"],
    bf16: ["conv_forward_bf16", "conv_forward_small_bf16"],
};
static BACKWARD_INPUT: Kernels = Kernels {
    f32: ["conv_backward_input", "conv_backward_input_small"],
    tf32: ["conv_backward_input_tf32", "conv_backward_input_small_tf32"],
    bf16: ["conv_backward_input_bf16", "conv_backward_input_small_bf16"],
};
static BACKWARD_FILTER: Kernels = Kernels {
    f32: ["conv_backward_filter", "conv_backward_filter_small"],
    tf32: ["conv_backward_filter_tf32", "conv_backward_filter_small_tf32"],
    bf16: ["conv_backward_filter_bf16", "conv_backward_filter_small_bf16"],
};

fn forward_cut(g: &Geometry) -> Cut {
    let pixels = g.images * g.out_height() * g.out_width();
    Cut::of([pixels, g.filters / g.groups, numbers(g)], g.groups)
}

/// With a stride, its square of products, of input pixels that meet the same taps. They are nearly
/// alike: the largest counts.
fn input_cut(g: &Geometry) -> Cut {
    let part = |extent: usize| extent.div_ceil(g.stride);
    let pixels = g.images * part(g.height) * part(g.width);
    let depth = part(g.window.0) * part(g.window.1) * g.filters / g.groups;
    Cut::of([pixels, g.channels / g.groups, depth], g.groups * g.stride * g.stride)
}

fn filter_cut(g: &Geometry) -> Cut {
    let pixels = g.images * g.out_height() * g.out_width();
    Cut::of([g.filters / g.groups, numbers(g), pixels], g.groups)
}

/// Of a filter.
fn numbers(g: &Geometry) -> usize {
    g.filter_shape().len() / g.filters
}

/// Floats for any of the three passes.
pub(super) fn scratch(g: &Geometry) -> usize {
    let forward = forward_cut(g).scratch(&[g.out_shape().len()]);
    let input = input_cut(g).scratch(&[g.in_shape().len()]);
    let filter = filter_cut(g).scratch(&[g.filter_shape().len(), g.filters]);
    forward.max(input).max(filter).max(pixels_of_a_slice(g) * g.filters)
}

/// As cuDNN has it, which pads both sides alike: where as many windows fit that way, what lies
/// below and to the right is the same zeros.
fn convolution(g: &Geometry) -> Option<Convolution> {
    let convolution = Convolution {
        images: g.images,
        image: [g.height, g.width],
        channels: g.channels,
        filters: g.filters,
        window: [g.window.0, g.window.1],
        stride: g.stride,
        pad: [g.pad.top, g.pad.left],
        groups: g.groups,
    };
    let same = convolution.outputs() == Some([g.out_height(), g.out_width()]);
    same.then_some(convolution)
}

/// A pass through cuDNN, of x, w and y or their gradients, by this algorithm or its best; false if
/// it is not in use or cannot.
fn convolve(
    cuda: &mut Cuda,
    pass: Pass,
    g: &Geometry,
    algorithm: Option<usize>,
    slots: [Slot; 3],
) -> Result<bool> {
    match convolution(g) {
        Some(convolution) => cuda.convolve(pass, &convolution, algorithm, slots),
        None => Ok(false),
    }
}

/// Our own cuts of a product, and cuDNN's ways to make this pass of x, w and y.
fn ways(
    cuda: &mut Cuda,
    (pass, g, slots): (Pass, &Geometry, [Slot; 3]),
    cut: Cut,
    (outputs, scratch): (&[usize], Slot),
) -> Result<Vec<Way>> {
    let mut ways = cut.ways(outputs, scratch);
    if let Some(convolution) = convolution(g) {
        let algorithms = cuda.ways_to_convolve(pass, &convolution, slots)?;
        ways.extend(algorithms.into_iter().map(|algorithm| Way::Cudnn(Some(algorithm))));
    }
    Ok(ways)
}

/// The sum over the pixels of dy: over slices of several first, and then over those of one, so that
/// many threads have something to do.
fn sum_pixels(cuda: &mut Cuda, g: &Geometry, dy: Slot, db: Slot, scratch: Slot) -> Result<()> {
    let (all, few) = (g.out_shape().len() / g.filters, pixels_of_a_slice(g));
    let slice = scratch.part(0, Shape::from([few * g.filters]));
    SUM.add(cuda, (dy, all / few), (None, false), slice)?;
    SUM.add(cuda, (slice, few), (None, false), db)
}

/// A divisor of all output pixels, about as large as what it divides them into.
fn pixels_of_a_slice(g: &Geometry) -> usize {
    let all = g.out_shape().len() / g.filters;
    (1..=all.isqrt()).rev().find(|few| all.is_multiple_of(*few)).unwrap_or(1)
}

/// The kernels' `Geometry`.
fn geometry(g: &Geometry) -> [u32; 13] {
    [
        g.images,
        g.height,
        g.width,
        g.channels,
        g.filters,
        g.window.0,
        g.window.1,
        g.stride,
        g.pad.top,
        g.pad.left,
        g.out_height(),
        g.out_width(),
        g.groups,
    ]
    .map(|extent| extent as u32)
}

/// The kernels' `Cut`.
fn cut_of(cut: &Cut, wide: [u32; 2]) -> [u32; 4] {
    [cut.slice() as u32, cut.tiles_across() as u32, wide[0], wide[1]]
}

/// What the three passes share of work that can be done in several ways.
fn work<'a, const N: usize>(
    pass: &'static str,
    g: &Geometry,
    text: &'a dyn Fn() -> String,
    (slots, reads): ([Slot; N], usize),
    cut: &Cut,
) -> Work<'a, N> {
    Work { pass, sizes: geometry(g), text, slots, reads, rule: cut.way() }
}

fn text(g: &Geometry) -> String {
    let Geometry { images, height, width, channels, filters, window: (rows, columns), .. } = g;
    let Geometry { stride, pad, groups, .. } = g;
    let (out_height, out_width) = (g.out_height(), g.out_width());
    format!(
        "{images} x {height} x {width} x {channels} to {out_height} x {out_width} x {filters}, \
         window {rows} x {columns}, stride {stride}, padding {} {}, groups {groups}",
        pad.top, pad.left
    )
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let (cut, text, [x, w, _, y, scratch]) = (forward_cut(g), || text(g), slots);
    let work = work("conv_forward", g, &text, (slots, 3), &cut);
    let pass = (Pass::Forward, g, [x, w, y]);
    let others = |cuda: &mut Cuda| ways(cuda, pass, cut, (&[y.len()], scratch));
    cuda.work(&work, others, |cuda, way, slots| forward_in(cuda, g, way, slots))
}

/// As [`forward`] in this way; false if there is no such.
fn forward_in(cuda: &mut Cuda, g: &Geometry, way: Way, slots: [Slot; 5]) -> Result<bool> {
    let [x, w, b, y, scratch] = slots;
    if let Way::Cudnn(algorithm) = way {
        let made = convolve(cuda, Pass::Forward, g, algorithm, [x, w, y])?;
        if made {
            SUM.add(cuda, (y, 1), (Some(b), g.relu), y)?;
        }
        return Ok(made);
    }
    let cut = forward_cut(g).in_way(way, &[y.len()], scratch);
    let Some(cut) = cut else { return Ok(false) };
    let [target] = cut.targets([y], scratch);
    // Bias and ReLU come after the last sum.
    let (bias, relu) = if cut.slices == 1 { (Some(b), g.relu) } else { (None, false) };
    let (bias, relu) = (bias.map_or(Address::NOWHERE, |b| cuda.address(b)), u32::from(relu));
    let wide = [is_wide(cuda, x, &channels(g)), is_wide(cuda, w, &[numbers(g)])];
    let (geometry, parts) = (geometry(g), cut_of(&cut, wide));
    let kernel = cut.kernel(cuda, &FORWARD);
    let [x, w, to] = cuda.addresses([x, w, target]);
    let arguments: [&dyn Argument; 7] = [&geometry, &parts, &x, &w, &bias, &to, &relu];
    // SAFETY: the kernels' parameters in their order; the slots have the geometry's sizes, and the
    // target has room for every slice.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &arguments)? };
    SUM.launch(cuda, &cut, target, (Some(b), g.relu), y)?;
    Ok(true)
}

pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (cut, text, [dy, w, dx, scratch]) = (input_cut(g), || text(g), slots);
    let work = work("conv_backward_input", g, &text, (slots, 2), &cut);
    let pass = (Pass::Input, g, [dx, w, dy]);
    let others = |cuda: &mut Cuda| ways(cuda, pass, cut, (&[dx.len()], scratch));
    cuda.work(&work, others, |cuda, way, slots| backward_input_in(cuda, g, way, slots))
}

fn backward_input_in(cuda: &mut Cuda, g: &Geometry, way: Way, slots: [Slot; 4]) -> Result<bool> {
    let [dy, w, dx, scratch] = slots;
    if let Way::Cudnn(algorithm) = way {
        return convolve(cuda, Pass::Input, g, algorithm, [dx, w, dy]);
    }
    let cut = input_cut(g).in_way(way, &[dx.len()], scratch);
    let Some(cut) = cut else { return Ok(false) };
    let [target] = cut.targets([dx], scratch);
    let wide = [is_wide(cuda, dy, &filters(g)), is_wide(cuda, w, &channels(g))];
    let (geometry, parts) = (geometry(g), cut_of(&cut, wide));
    let kernel = cut.kernel(cuda, &BACKWARD_INPUT);
    let [dy, w, to] = cuda.addresses([dy, w, target]);
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &[&geometry, &parts, &dy, &w, &to])? };
    SUM.launch(cuda, &cut, target, (None, false), dx)?;
    Ok(true)
}

pub(super) fn backward_filter(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let (cut, text, [x, dy, dw, db, scratch]) = (filter_cut(g), || text(g), slots);
    let work = work("conv_backward_filter", g, &text, (slots, 2), &cut);
    let pass = (Pass::Filter, g, [x, dw, dy]);
    let others = |cuda: &mut Cuda| ways(cuda, pass, cut, (&[dw.len(), db.len()], scratch));
    cuda.work(&work, others, |cuda, way, slots| backward_filter_in(cuda, g, way, slots))
}

fn backward_filter_in(cuda: &mut Cuda, g: &Geometry, way: Way, slots: [Slot; 5]) -> Result<bool> {
    let [x, dy, dw, db, scratch] = slots;
    if let Way::Cudnn(algorithm) = way {
        let made = convolve(cuda, Pass::Filter, g, algorithm, [x, dw, dy])?;
        if made {
            sum_pixels(cuda, g, dy, db, scratch)?;
        }
        return Ok(made);
    }
    let cut = filter_cut(g).in_way(way, &[dw.len(), db.len()], scratch);
    let Some(cut) = cut else { return Ok(false) };
    let [dw_target, db_target] = cut.targets([dw, db], scratch);
    let wide = [is_wide(cuda, dy, &filters(g)), is_wide(cuda, x, &channels(g))];
    let (geometry, parts) = (geometry(g), cut_of(&cut, wide));
    let kernel = cut.kernel(cuda, &BACKWARD_FILTER);
    let [x, dy, dw_to, db_to] = cuda.addresses([x, dy, dw_target, db_target]);
    let arguments: [&dyn Argument; 6] = [&geometry, &parts, &dy, &x, &dw_to, &db_to];
    // SAFETY: as above, for both targets.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &arguments)? };
    SUM.launch(cuda, &cut, dw_target, (None, false), dw)?;
    SUM.launch(cuda, &cut, db_target, (None, false), db)?;
    Ok(true)
}

/// Runs of floats in x and in w: a group's channels, and all of them.
fn channels(g: &Geometry) -> [usize; 2] {
    [g.channels / g.groups, g.channels]
}

/// Runs of floats in dy.
fn filters(g: &Geometry) -> [usize; 2] {
    [g.filters / g.groups, g.filters]
}
