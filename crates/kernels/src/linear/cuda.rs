//! On a GPU: three matrix products. If k is split into slices, another kernel adds their sums.
//!
//! The algorithm of each product is chosen by [`tensor::tune`]: one of our own tilings, or
//! cuBLASLt. cuBLASLt only multiplies, using the pass's scratch memory as its workspace; the kernel
//! that adds slices then does the rest. For the forward pass it adds bias and ReLU to the product
//! as a single slice; for the bias gradient the rows of dy are the slices.

use super::Geometry;
use crate::gemm::cuda::{Epilogue, Kernels, SliceSum, Tiling, is_wide};
use tensor::cublaslt::Product;
use tensor::tune::{GpuAlgorithm, Operation};
use tensor::{Address, Cuda, Image, Result, Slot};

static IMAGE: Image = Image { op: "linear", bytes: include_bytes!("linear.fatbin") };
static SUM: SliceSum = SliceSum { image: &IMAGE, kernel: "linear_sum" };
static FORWARD: Kernels = Kernels {
    f32: &[([128, 128], "linear_forward"), ([64, 64], "linear_forward_small")],
    tf32: &[([128, 128], "linear_forward_tf32"), ([64, 64], "linear_forward_small_tf32")],
    bf16: &[([128, 128], "linear_forward_bf16"), ([64, 64], "linear_forward_small_bf16")],
};
static BACKWARD_INPUT: Kernels = Kernels {
    f32: &[([128, 128], "linear_backward_input"), ([64, 64], "linear_backward_input_small")],
    tf32: &[
        ([128, 128], "linear_backward_input_tf32"),
        ([64, 64], "linear_backward_input_small_tf32"),
    ],
    bf16: &[
        ([128, 128], "linear_backward_input_bf16"),
        ([64, 64], "linear_backward_input_small_bf16"),
    ],
};
static BACKWARD_WEIGHTS: Kernels = Kernels {
    f32: &[([128, 128], "linear_backward_weights"), ([64, 64], "linear_backward_weights_small")],
    tf32: &[
        ([128, 128], "linear_backward_weights_tf32"),
        ([64, 64], "linear_backward_weights_small_tf32"),
    ],
    bf16: &[
        ([128, 128], "linear_backward_weights_bf16"),
        ([64, 64], "linear_backward_weights_small_bf16"),
    ],
};
/// For estimates of their times.
pub(crate) static GPU_KERNELS: [&Kernels; 3] = [&FORWARD, &BACKWARD_INPUT, &BACKWARD_WEIGHTS];

/// Whether A and B are stored transposed, for each pass.
const FORWARD_T: [bool; 2] = [false, true];
const INPUT_T: [bool; 2] = [false, false];
const WEIGHTS_T: [bool; 2] = [true, false];

fn forward_tiling(g: &Geometry) -> Tiling {
    Tiling::of([g.images, g.outputs, g.inputs], 1)
}

fn input_tiling(g: &Geometry) -> Tiling {
    Tiling::of([g.images, g.inputs, g.outputs], 1)
}

fn weights_tiling(g: &Geometry) -> Tiling {
    Tiling::of([g.outputs, g.inputs, g.images], 1)
}

/// Floats of scratch memory that suffice for each of the three passes.
pub(super) fn scratch(g: &Geometry) -> usize {
    let forward = forward_tiling(g).scratch(&[g.images * g.outputs]);
    let input = input_tiling(g).scratch(&[g.images * g.inputs]);
    let weights = weights_tiling(g).scratch(&[g.outputs * g.inputs, g.outputs]);
    forward.max(input).max(weights)
}

fn product(tiling: &Tiling, transposed: [bool; 2]) -> Product {
    Product { rows: tiling.rows, columns: tiling.columns, depth: tiling.depth, transposed }
}

/// The kernels' struct `Sizes`.
fn sizes(tiling: &Tiling, wide: [u32; 2], relu: bool) -> [u32; 8] {
    let [rows, columns, depth, slice, across] =
        [tiling.rows, tiling.columns, tiling.depth, tiling.slice(), tiling.tiles_across()]
            .map(|n| n as u32);
    [rows, columns, depth, slice, across, wide[0], wide[1], u32::from(relu)]
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
    let mut sizes = [0; 13];
    sizes[..3].copy_from_slice(&[g.images, g.inputs, g.outputs].map(|n| n as u32));
    Operation { pass, sizes, text, slots, reads, heuristic: tiling.algorithm() }
}

fn text(g: &Geometry) -> String {
    format!("{} x {} to {}", g.images, g.inputs, g.outputs)
}

/// Adds cuBLASLt's algorithms for a product to our own `tilings`.
fn with_cublaslt(
    cuda: &mut Cuda,
    tilings: Vec<GpuAlgorithm>,
    product: &Product,
    slots: [Slot; 3],
    scratch: Slot,
) -> Result<Vec<GpuAlgorithm>> {
    let count = cuda.multiply_algorithms(product, slots, scratch)?;
    Ok(tilings.into_iter().chain((0..count).map(GpuAlgorithm::Cublaslt)).collect())
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let tiling = forward_tiling(g).run_by(FORWARD.of(cuda));
    let [x, w, _, y, scratch] = slots;
    let others = |cuda: &mut Cuda| {
        let tilings = tiling.algorithms(&[y.len()], scratch);
        with_cublaslt(cuda, tilings, &product(&tiling, FORWARD_T), [x, w, y], scratch)
    };
    let text = || text(g);
    let work = work("linear_forward", g, &text, slots, 3, &tiling);
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
    let tiling = forward_tiling(g).run_by(FORWARD.of(cuda));
    if let GpuAlgorithm::Cublaslt(number) = algorithm {
        let made = cuda.multiply(&product(&tiling, FORWARD_T), number, [x, w, y], scratch)?;
        if made {
            SUM.add(cuda, y, 1, Epilogue { bias: Some(b), relu: g.relu }, y)?;
        }
        return Ok(made);
    }
    let Some(tiling) = tiling.with_algorithm(algorithm, &[y.len()], scratch) else {
        return Ok(false);
    };
    let [target] = tiling.targets([y], scratch);
    let epilogue = Epilogue { bias: Some(b), relu: g.relu };
    // With several slices, bias and ReLU come after the last sum.
    let own = if tiling.slices == 1 { epilogue } else { Epilogue::NONE };
    let bias = own.bias.map_or(Address::NOWHERE, |b| cuda.address(b));
    let sizes = sizes(&tiling, [x, w].map(|slot| is_wide(cuda, slot, &[g.inputs])), own.relu);
    let kernel = tiling.kernel();
    let [x, w, to] = cuda.addresses([x, w, target]);
    // SAFETY: the kernels' parameters in their order; the slots have the geometry's sizes, and the
    // target has room for every slice.
    unsafe { cuda.launch(&IMAGE, kernel, tiling.grid(), &[&sizes, &x, &w, &bias, &to])? };
    SUM.launch(cuda, &tiling, target, epilogue, y)?;
    Ok(true)
}

pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let tiling = input_tiling(g).run_by(BACKWARD_INPUT.of(cuda));
    let [dy, w, dx, scratch] = slots;
    let others = |cuda: &mut Cuda| {
        let tilings = tiling.algorithms(&[dx.len()], scratch);
        with_cublaslt(cuda, tilings, &product(&tiling, INPUT_T), [dy, w, dx], scratch)
    };
    let text = || text(g);
    let work = work("linear_backward_input", g, &text, slots, 2, &tiling);
    cuda.run(&work, others, |cuda, algorithm, slots| backward_input_in(cuda, g, algorithm, slots))
}

fn backward_input_in(
    cuda: &mut Cuda,
    g: &Geometry,
    algorithm: GpuAlgorithm,
    slots: [Slot; 4],
) -> Result<bool> {
    let [dy, w, dx, scratch] = slots;
    let tiling = input_tiling(g).run_by(BACKWARD_INPUT.of(cuda));
    if let GpuAlgorithm::Cublaslt(number) = algorithm {
        return cuda.multiply(&product(&tiling, INPUT_T), number, [dy, w, dx], scratch);
    }
    let Some(tiling) = tiling.with_algorithm(algorithm, &[dx.len()], scratch) else {
        return Ok(false);
    };
    let [target] = tiling.targets([dx], scratch);
    let wide = [is_wide(cuda, dy, &[g.outputs]), is_wide(cuda, w, &[g.inputs])];
    let sizes = sizes(&tiling, wide, false);
    let kernel = tiling.kernel();
    let [dy, w, to] = cuda.addresses([dy, w, target]);
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, kernel, tiling.grid(), &[&sizes, &dy, &w, &to])? };
    SUM.launch(cuda, &tiling, target, Epilogue::NONE, dx)?;
    Ok(true)
}

pub(super) fn backward_weights(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let tiling = weights_tiling(g).run_by(BACKWARD_WEIGHTS.of(cuda));
    let [x, dy, dw, db, scratch] = slots;
    let others = |cuda: &mut Cuda| {
        let tilings = tiling.algorithms(&[dw.len(), db.len()], scratch);
        with_cublaslt(cuda, tilings, &product(&tiling, WEIGHTS_T), [dy, x, dw], scratch)
    };
    let text = || text(g);
    let work = work("linear_backward_weights", g, &text, slots, 2, &tiling);
    cuda.run(&work, others, |cuda, algorithm, slots| backward_weights_in(cuda, g, algorithm, slots))
}

fn backward_weights_in(
    cuda: &mut Cuda,
    g: &Geometry,
    algorithm: GpuAlgorithm,
    slots: [Slot; 5],
) -> Result<bool> {
    let [x, dy, dw, db, scratch] = slots;
    let tiling = weights_tiling(g).run_by(BACKWARD_WEIGHTS.of(cuda));
    if let GpuAlgorithm::Cublaslt(number) = algorithm {
        let made = cuda.multiply(&product(&tiling, WEIGHTS_T), number, [dy, x, dw], scratch)?;
        if made {
            SUM.add(cuda, dy, g.images, Epilogue::NONE, db)?;
        }
        return Ok(made);
    }
    let outputs = [dw.len(), db.len()];
    let Some(tiling) = tiling.with_algorithm(algorithm, &outputs, scratch) else {
        return Ok(false);
    };
    let [dw_target, db_target] = tiling.targets([dw, db], scratch);
    let wide = [is_wide(cuda, dy, &[g.outputs]), is_wide(cuda, x, &[g.inputs])];
    let sizes = sizes(&tiling, wide, false);
    let kernel = tiling.kernel();
    let [x, dy, dw_to, db_to] = cuda.addresses([x, dy, dw_target, db_target]);
    // SAFETY: as above, for both targets.
    unsafe { cuda.launch(&IMAGE, kernel, tiling.grid(), &[&sizes, &dy, &x, &dw_to, &db_to])? };
    SUM.launch(cuda, &tiling, dw_target, Epilogue::NONE, dw)?;
    SUM.launch(cuda, &tiling, db_target, Epilogue::NONE, db)?;
    Ok(true)
}
