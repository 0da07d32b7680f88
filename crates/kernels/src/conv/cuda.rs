//! On a GPU: three matrix products that read their operands in place, one product per group.
//!
//! The algorithm of each product is chosen by [`tensor::tune`]: one of our own tilings, or cuDNN.
//! cuDNN only convolves; the kernel that adds slices then does the rest. For the forward pass it
//! adds bias and ReLU to the result as a single slice, so that NaN stays NaN whatever cuDNN's own
//! ReLU does; for the bias gradient the pixels of dy are the slices, summed in two steps.

use super::cudnn::{convolve, with_algorithms};
use super::{Algorithm, Geometry, Pad, folds_on_gpu};
use crate::gemm::cuda::{Epilogue, Kernels, SliceSum, Tiling, is_wide};
use tensor::cudnn::Pass;
use tensor::tune::{GpuAlgorithm, Operation};
use tensor::{Address, Argument, Cuda, Grid, Image, Precision, Result, Shape, Slot};

static IMAGE: Image = Image { op: "conv", bytes: include_bytes!("conv.fatbin") };
static SUM: SliceSum = SliceSum { image: &IMAGE, kernel: "conv_sum" };
static FORWARD: Kernels = Kernels {
    f32: &[([128, 128], "conv_forward"), ([64, 64], "conv_forward_small")],
    tf32: &[([128, 128], "conv_forward_tf32"), ([64, 64], "conv_forward_small_tf32")],
    bf16: &[
        ([128, 128], "conv_forward_bf16"),
        ([64, 64], "conv_forward_small_bf16"),
        ([128, 96], "conv_forward_128x96_bf16"),
        ([128, 64], "conv_forward_128x64_bf16"),
    ],
};
static BACKWARD_INPUT: Kernels = Kernels {
    f32: &[([128, 128], "conv_backward_input"), ([64, 64], "conv_backward_input_small")],
    tf32: &[([128, 128], "conv_backward_input_tf32"), ([64, 64], "conv_backward_input_small_tf32")],
    bf16: &[
        ([128, 128], "conv_backward_input_bf16"),
        ([64, 64], "conv_backward_input_small_bf16"),
        ([128, 96], "conv_backward_input_128x96_bf16"),
        ([256, 64], "conv_backward_input_256x64_bf16"),
    ],
};
static BACKWARD_FILTER: Kernels = Kernels {
    f32: &[([128, 128], "conv_backward_filter"), ([64, 64], "conv_backward_filter_small")],
    tf32: &[
        ([128, 128], "conv_backward_filter_tf32"),
        ([64, 64], "conv_backward_filter_small_tf32"),
    ],
    bf16: &[
        ([128, 128], "conv_backward_filter_bf16"),
        ([64, 64], "conv_backward_filter_small_bf16"),
        ([96, 128], "conv_backward_filter_96x128_bf16"),
    ],
};
/// For estimates of their times.
pub(crate) static GPU_KERNELS: [&Kernels; 3] = [&FORWARD, &BACKWARD_INPUT, &BACKWARD_FILTER];

fn forward_tiling(g: &Geometry) -> Tiling {
    let pixels = g.images * g.out_height() * g.out_width();
    Tiling::of([pixels, g.filters / g.groups, filter_len(g)], g.groups)
}

/// With a stride s, s x s products, each of the input pixels that use the same taps. Their sizes
/// are nearly equal; the largest counts.
fn input_tiling(g: &Geometry) -> Tiling {
    let part = |extent: usize| extent.div_ceil(g.stride);
    let pixels = g.images * part(g.height) * part(g.width);
    let depth = part(g.window.0) * part(g.window.1) * g.filters / g.groups;
    Tiling::of([pixels, g.channels / g.groups, depth], g.groups * g.stride * g.stride)
}

fn filter_tiling(g: &Geometry) -> Tiling {
    let pixels = g.images * g.out_height() * g.out_width();
    Tiling::of([g.filters / g.groups, filter_len(g), pixels], g.groups)
}

/// Elements of a filter.
fn filter_len(g: &Geometry) -> usize {
    g.filter_shape().len() / g.filters
}

/// Floats of scratch memory that suffice for each of the three passes.
pub(super) fn scratch(g: &Geometry) -> usize {
    let own = |g: &Geometry| {
        let forward = forward_tiling(g).scratch(&[g.out_shape().len()]);
        forward.max(filter_tiling(g).scratch(&[g.filter_shape().len(), g.filters]))
    };
    let input = input_tiling(g).scratch(&[g.in_shape().len()]);
    let of_folded = folded(g).map_or(0, |f| Fold::floats(&f).iter().sum::<usize>() + own(&f));
    own(g).max(input).max(of_folded).max(pixels_per_slice(g) * g.filters)
}

/// The same convolution of folded images, [if it folds](folds_on_gpu).
pub(super) fn folded(g: &Geometry) -> Option<Geometry> {
    let Geometry { channels, filters, stride, window: (rows, columns), .. } = *g;
    let folds = folds_on_gpu(channels, g.groups, stride);
    let window = (rows.div_ceil(stride), columns.div_ceil(stride));
    folds.then_some(Geometry {
        height: g.out_height() + window.0 - 1,
        width: g.out_width() + window.1 - 1,
        channels: stride * stride * channels,
        filters,
        window,
        stride: 1,
        pad: Pad::none(),
        algorithm: Algorithm::Direct,
        ..*g
    })
}

/// A folded convolution, and its operands in scratch memory.
struct Fold {
    folded: Geometry,
    images: Slot,
    filters: Slot,
    /// The rest of the scratch memory.
    scratch: Slot,
}

impl Fold {
    /// Floats of folded images and filters.
    fn floats(folded: &Geometry) -> [usize; 2] {
        [folded.in_shape().len(), folded.filter_shape().len()]
    }

    /// In tf32 and bf16: in f32 the additional products would cost more than the reads save.
    fn new(cuda: &Cuda, g: &Geometry, scratch: Slot) -> Option<Fold> {
        let folded = folded(g).filter(|_| cuda.precision() != Precision::F32)?;
        let [images, filters] = Fold::floats(&folded);
        let part = |first, len| scratch.part(first, Shape::from([len]));
        let (has, needed) = (scratch.len(), images + filters);
        assert!(has >= needed, "scratch of {has} floats; a GPU needs {needed}");
        Some(Fold {
            folded,
            images: part(0, images),
            filters: part(images, filters),
            scratch: part(needed, has - needed),
        })
    }

    /// Folds x, and w if given.
    fn fold(&self, cuda: &mut Cuda, g: &Geometry, x: Slot, w: Option<Slot>) -> Result<()> {
        let filters = w.map_or(0, |_| self.filters.len());
        let grid = Grid::over((self.images.len() + filters) / 4);
        let w = w.map_or(Address::NOWHERE, |w| cuda.address(w));
        let geometry = g.extents();
        let [x, images, filters] = cuda.addresses([x, self.images, self.filters]);
        let arguments: [&dyn Argument; 5] = [&geometry, &x, &w, &images, &filters];
        // SAFETY: the kernel's parameters in their order; x and w have the geometry's sizes, images
        // and filters those of the folded one.
        unsafe { cuda.launch(&IMAGE, "conv_fold", grid, &arguments) }
    }

    /// Writes the sum over slices of folded filters to `dw`.
    fn unfold(cuda: &mut Cuda, g: &Geometry, slices: Slot, count: usize, dw: Slot) -> Result<()> {
        let (geometry, count, grid) = (g.extents(), count as u32, Grid::over(dw.len()));
        let [slices, dw] = cuda.addresses([slices, dw]);
        // SAFETY: the kernel's parameters in their order; `slices` has `count` times the folded
        // filters, and dw the geometry's.
        unsafe { cuda.launch(&IMAGE, "conv_unfold", grid, &[&geometry, &slices, &count, &dw]) }
    }
}

/// The sum over the pixels of dy: first over groups of pixels, then over the results, so that many
/// threads can work.
fn sum_pixels(cuda: &mut Cuda, g: &Geometry, dy: Slot, db: Slot, scratch: Slot) -> Result<()> {
    let (all, few) = (g.out_shape().len() / g.filters, pixels_per_slice(g));
    let slice = scratch.part(0, Shape::from([few * g.filters]));
    SUM.add(cuda, dy, all / few, Epilogue::NONE, slice)?;
    SUM.add(cuda, slice, few, Epilogue::NONE, db)
}

/// The largest divisor of the number of output pixels up to its square root.
fn pixels_per_slice(g: &Geometry) -> usize {
    let all = g.out_shape().len() / g.filters;
    (1..=all.isqrt()).rev().find(|few| all.is_multiple_of(*few)).unwrap_or(1)
}

/// The kernels' struct `Cut`.
fn tiling_fields(tiling: &Tiling, wide: [u32; 2]) -> [u32; 4] {
    [tiling.slice() as u32, tiling.tiles_across() as u32, wide[0], wide[1]]
}

/// The description of a pass for the tuner. The first `reads` slots are only read.
fn work<'a, const N: usize>(
    pass: &'static str,
    g: &Geometry,
    text: &'a dyn Fn() -> String,
    slots: [Slot; N],
    reads: usize,
    tiling: &Tiling,
) -> Operation<'a, N> {
    Operation { pass, sizes: g.extents(), text, slots, reads, heuristic: tiling.algorithm() }
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
    let (text, [x, w, _, y, scratch]) = (|| text(g), slots);
    let (own, room) = Fold::new(cuda, g, scratch).map_or((*g, scratch), |f| (f.folded, f.scratch));
    let tiling = forward_tiling(&own).run_by(FORWARD.of(cuda));
    let work = work("conv_forward", g, &text, slots, 3, &tiling);
    let others = |cuda: &mut Cuda| {
        with_algorithms(cuda, tiling.algorithms(&[y.len()], room), Pass::Forward, g, [x, w, y])
    };
    cuda.run(&work, others, |cuda, algorithm, slots| forward_in(cuda, g, algorithm, slots))
}

/// [`forward`] by this algorithm; false if it is not available.
fn forward_in(
    cuda: &mut Cuda,
    g: &Geometry,
    algorithm: GpuAlgorithm,
    slots: [Slot; 5],
) -> Result<bool> {
    let [x, w, b, y, scratch] = slots;
    if let GpuAlgorithm::Cudnn(number) = algorithm {
        let made = convolve(cuda, Pass::Forward, g, number, [x, w, y])?;
        if made {
            SUM.add(cuda, y, 1, Epilogue { bias: Some(b), relu: g.relu }, y)?;
        }
        return Ok(made);
    }
    let fold = Fold::new(cuda, g, scratch);
    let (own, scratch) = fold.as_ref().map_or((*g, scratch), |fold| (fold.folded, fold.scratch));
    let tiling = forward_tiling(&own).run_by(FORWARD.of(cuda));
    let tiling = tiling.with_algorithm(algorithm, &[y.len()], scratch);
    let Some(tiling) = tiling else { return Ok(false) };
    let [x, w] = match &fold {
        Some(fold) => {
            fold.fold(cuda, g, x, Some(w))?;
            [fold.images, fold.filters]
        }
        None => [x, w],
    };
    let g = &own;
    let [target] = tiling.targets([y], scratch);
    let epilogue = Epilogue { bias: Some(b), relu: g.relu };
    // With several slices, bias and ReLU come after the last sum.
    let own = if tiling.slices == 1 { epilogue } else { Epilogue::NONE };
    let bias = own.bias.map_or(Address::NOWHERE, |b| cuda.address(b));
    let relu = u32::from(own.relu);
    let wide = [is_wide(cuda, x, &channels(g)), is_wide(cuda, w, &[filter_len(g)])];
    let (geometry, parts) = (g.extents(), tiling_fields(&tiling, wide));
    let kernel = tiling.kernel();
    let [x, w, to] = cuda.addresses([x, w, target]);
    let arguments: [&dyn Argument; 7] = [&geometry, &parts, &x, &w, &bias, &to, &relu];
    // SAFETY: the kernels' parameters in their order; the slots have the geometry's sizes, and the
    // target has room for every slice.
    unsafe { cuda.launch(&IMAGE, kernel, tiling.grid(), &arguments)? };
    SUM.launch(cuda, &tiling, target, epilogue, y)?;
    Ok(true)
}

pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (tiling, text, [dy, w, dx, scratch]) =
        (input_tiling(g).run_by(BACKWARD_INPUT.of(cuda)), || text(g), slots);
    let work = work("conv_backward_input", g, &text, slots, 2, &tiling);
    let others = |cuda: &mut Cuda| {
        with_algorithms(cuda, tiling.algorithms(&[dx.len()], scratch), Pass::Input, g, [dx, w, dy])
    };
    cuda.run(&work, others, |cuda, algorithm, slots| backward_input_in(cuda, g, algorithm, slots))
}

fn backward_input_in(
    cuda: &mut Cuda,
    g: &Geometry,
    algorithm: GpuAlgorithm,
    slots: [Slot; 4],
) -> Result<bool> {
    let [dy, w, dx, scratch] = slots;
    if let GpuAlgorithm::Cudnn(number) = algorithm {
        return convolve(cuda, Pass::Input, g, number, [dx, w, dy]);
    }
    let tiling = input_tiling(g).run_by(BACKWARD_INPUT.of(cuda)).with_algorithm(
        algorithm,
        &[dx.len()],
        scratch,
    );
    let Some(tiling) = tiling else { return Ok(false) };
    let [target] = tiling.targets([dx], scratch);
    let wide = [is_wide(cuda, dy, &filters(g)), is_wide(cuda, w, &channels(g))];
    let (geometry, parts) = (g.extents(), tiling_fields(&tiling, wide));
    let kernel = tiling.kernel();
    let [dy, w, to] = cuda.addresses([dy, w, target]);
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, kernel, tiling.grid(), &[&geometry, &parts, &dy, &w, &to])? };
    SUM.launch(cuda, &tiling, target, Epilogue::NONE, dx)?;
    Ok(true)
}

pub(super) fn backward_filter(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let (text, [x, dy, dw, db, scratch]) = (|| text(g), slots);
    let fold = Fold::new(cuda, g, scratch);
    let (own, room) = fold.as_ref().map_or((*g, scratch), |fold| (fold.folded, fold.scratch));
    let len = fold.map_or(dw, |fold| fold.filters).len();
    let tiling = filter_tiling(&own).run_by(BACKWARD_FILTER.of(cuda));
    let work = work("conv_backward_filter", g, &text, slots, 2, &tiling);
    let others = |cuda: &mut Cuda| {
        let algorithms = tiling.algorithms(&[len, db.len()], room);
        with_algorithms(cuda, algorithms, Pass::Filter, g, [x, dw, dy])
    };
    cuda.run(&work, others, |cuda, algorithm, slots| backward_filter_in(cuda, g, algorithm, slots))
}

fn backward_filter_in(
    cuda: &mut Cuda,
    g: &Geometry,
    algorithm: GpuAlgorithm,
    slots: [Slot; 5],
) -> Result<bool> {
    let [x, dy, dw, db, scratch] = slots;
    if let GpuAlgorithm::Cudnn(number) = algorithm {
        let made = convolve(cuda, Pass::Filter, g, number, [x, dw, dy])?;
        if made {
            sum_pixels(cuda, g, dy, db, scratch)?;
        }
        return Ok(made);
    }
    let fold = Fold::new(cuda, g, scratch);
    let (own, scratch) = fold.as_ref().map_or((*g, scratch), |fold| (fold.folded, fold.scratch));
    let to = fold.as_ref().map_or(dw, |fold| fold.filters);
    let tiling = filter_tiling(&own).run_by(BACKWARD_FILTER.of(cuda));
    let tiling = tiling.with_algorithm(algorithm, &[to.len(), db.len()], scratch);
    let Some(tiling) = tiling else { return Ok(false) };
    let x = match &fold {
        Some(fold) => {
            fold.fold(cuda, g, x, None)?;
            fold.images
        }
        None => x,
    };
    let [dw_target, db_target] = tiling.targets([to, db], scratch);
    let wide = [is_wide(cuda, dy, &filters(&own)), is_wide(cuda, x, &channels(&own))];
    let (geometry, parts) = (own.extents(), tiling_fields(&tiling, wide));
    let kernel = tiling.kernel();
    let [x, dy, dw_to, db_to] = cuda.addresses([x, dy, dw_target, db_target]);
    let arguments: [&dyn Argument; 6] = [&geometry, &parts, &dy, &x, &dw_to, &db_to];
    // SAFETY: as above, for both targets.
    unsafe { cuda.launch(&IMAGE, kernel, tiling.grid(), &arguments)? };
    match fold {
        Some(_) => Fold::unfold(cuda, g, dw_target, tiling.slices, dw)?,
        None => SUM.launch(cuda, &tiling, dw_target, Epilogue::NONE, dw)?,
    }
    SUM.launch(cuda, &tiling, db_target, Epilogue::NONE, db)?;
    Ok(true)
}

/// Contiguous floats in x and in w: a group's channels, and all of them.
fn channels(g: &Geometry) -> [usize; 2] {
    [g.channels / g.groups, g.channels]
}

/// Contiguous floats in dy.
fn filters(g: &Geometry) -> [usize; 2] {
    [g.filters / g.groups, g.filters]
}
