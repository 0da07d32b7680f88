//! On a GPU: three products of plain matrices, and where k is cut into slices the sum over them.
//!
//! They are made in the way that is chosen for them ([`tensor::tune`]): in one of our own cuts, or
//! by cuBLASLt. Then the product is its own, with this pass's scratch memory to work in, and
//! the kernel that adds slices up does the rest: bias and ReLU come to a slice alone, and a bias's
//! gradient is the sum over the images, each of them a slice.

use super::Geometry;
use crate::gemm::cuda::{Cut, Kernels, Sum, is_wide};
use tensor::cublaslt::Product;
use tensor::tune::{Way, Work};
use tensor::{Address, Cuda, Image, Result, Slot};

static IMAGE: Image = Image { op: "linear", bytes: include_bytes!("linear.fatbin") };
static SUM: Sum = Sum { image: &IMAGE, kernel: "linear_sum" };
static FORWARD: Kernels = Kernels {
    f32: ["linear_forward", "linear_forward_small"],
    tf32: ["linear_forward_tf32", "linear_forward_small_tf32"],
    bf16: ["linear_forward_bf16", "linear_forward_small_bf16"],
};
static BACKWARD_INPUT: Kernels = Kernels {
    f32: ["linear_backward_input", "linear_backward_input_small"],
    tf32: ["linear_backward_input_tf32", "linear_backward_input_small_tf32"],
    bf16: ["linear_backward_input_bf16", "linear_backward_input_small_bf16"],
};
static BACKWARD_WEIGHTS: Kernels = Kernels {
    f32: ["linear_backward_weights", "linear_backward_weights_small"],
    tf32: ["linear_backward_weights_tf32", "linear_backward_weights_small_tf32"],
    bf16: ["linear_backward_weights_bf16", "linear_backward_weights_small_bf16"],
};

/// A's and B's transpose lies in memory, pass for pass.
const FORWARD_T: [bool; 2] = [false, true];
const INPUT_T: [bool; 2] = [false, false];
const WEIGHTS_T: [bool; 2] = [true, false];

fn forward_cut(g: &Geometry) -> Cut {
    Cut::of([g.images, g.outputs, g.inputs], 1)
}

fn input_cut(g: &Geometry) -> Cut {
    Cut::of([g.images, g.inputs, g.outputs], 1)
}

fn weights_cut(g: &Geometry) -> Cut {
    Cut::of([g.outputs, g.inputs, g.images], 1)
}

/// Floats for any of the three passes.
pub(super) fn scratch(g: &Geometry) -> usize {
    let forward = forward_cut(g).scratch(&[g.images * g.outputs]);
    let input = input_cut(g).scratch(&[g.images * g.inputs]);
    let weights = weights_cut(g).scratch(&[g.outputs * g.inputs, g.outputs]);
    forward.max(input).max(weights)
}

fn product(cut: &Cut, transposed: [bool; 2]) -> Product {
    Product { rows: cut.rows, columns: cut.columns, depth: cut.depth, transposed }
}

/// The kernels' `Sizes`.
fn sizes(cut: &Cut, wide: [u32; 2], relu: bool) -> [u32; 8] {
    let [rows, columns, depth, slice, across] =
        [cut.rows, cut.columns, cut.depth, cut.slice(), cut.tiles_across()].map(|n| n as u32);
    [rows, columns, depth, slice, across, wide[0], wide[1], u32::from(relu)]
}

/// What the three passes share of work that can be done in several ways.
fn work<'a, const N: usize>(
    pass: &'static str,
    g: &Geometry,
    text: &'a dyn Fn() -> String,
    (slots, reads): ([Slot; N], usize),
    cut: &Cut,
) -> Work<'a, N> {
    let mut sizes = [0; 13];
    sizes[..3].copy_from_slice(&[g.images, g.inputs, g.outputs].map(|n| n as u32));
    Work { pass, sizes, text, slots, reads, rule: cut.way() }
}

fn text(g: &Geometry) -> String {
    format!("{} x {} to {}", g.images, g.inputs, g.outputs)
}

/// Our own cuts of a product, and cuBLASLt's ways to make it.
fn ways(
    cuda: &mut Cuda,
    (cut, transposed): (Cut, [bool; 2]),
    (slots, outputs): ([Slot; 3], &[usize]),
    scratch: Slot,
) -> Result<Vec<Way>> {
    let count = cuda.ways_to_multiply(&product(&cut, transposed), slots, scratch)?;
    Ok(cut.ways(outputs, scratch).into_iter().chain((0..count).map(Way::Cublaslt)).collect())
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let cut = forward_cut(g);
    let [x, w, _, y, scratch] = slots;
    let others = |cuda: &mut Cuda| ways(cuda, (cut, FORWARD_T), ([x, w, y], &[y.len()]), scratch);
    let text = || text(g);
    let work = work("linear_forward", g, &text, (slots, 3), &cut);
    cuda.work(&work, others, |cuda, way, slots| forward_in(cuda, g, way, slots))
}

/// As [`forward`] in this way; false if there is no such.
fn forward_in(cuda: &mut Cuda, g: &Geometry, way: Way, slots: [Slot; 5]) -> Result<bool> {
    let [x, w, b, y, scratch] = slots;
    let cut = forward_cut(g);
    if let Way::Cublaslt(number) = way {
        let made = cuda.multiply(&product(&cut, FORWARD_T), number, [x, w, y], scratch)?;
        if made {
            SUM.add(cuda, (y, 1), (Some(b), g.relu), y)?;
        }
        return Ok(made);
    }
    let Some(cut) = cut.in_way(way, &[y.len()], scratch) else { return Ok(false) };
    let [target] = cut.targets([y], scratch);
    // Bias and ReLU come after the last sum.
    let (bias, relu) = if cut.slices == 1 { (Some(b), g.relu) } else { (None, false) };
    let bias = bias.map_or(Address::NOWHERE, |b| cuda.address(b));
    let sizes = sizes(&cut, [x, w].map(|slot| is_wide(cuda, slot, &[g.inputs])), relu);
    let kernel = cut.kernel(cuda, &FORWARD);
    let [x, w, to] = cuda.addresses([x, w, target]);
    // SAFETY: the kernels' parameters in their order; the slots have the geometry's sizes, and the
    // target has room for every slice.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &[&sizes, &x, &w, &bias, &to])? };
    SUM.launch(cuda, &cut, target, (Some(b), g.relu), y)?;
    Ok(true)
}

pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let cut = input_cut(g);
    let [dy, w, dx, scratch] = slots;
    let others = |cuda: &mut Cuda| ways(cuda, (cut, INPUT_T), ([dy, w, dx], &[dx.len()]), scratch);
    let text = || text(g);
    let work = work("linear_backward_input", g, &text, (slots, 2), &cut);
    cuda.work(&work, others, |cuda, way, slots| backward_input_in(cuda, g, way, slots))
}

fn backward_input_in(cuda: &mut Cuda, g: &Geometry, way: Way, slots: [Slot; 4]) -> Result<bool> {
    let [dy, w, dx, scratch] = slots;
    let cut = input_cut(g);
    if let Way::Cublaslt(number) = way {
        return cuda.multiply(&product(&cut, INPUT_T), number, [dy, w, dx], scratch);
    }
    let Some(cut) = cut.in_way(way, &[dx.len()], scratch) else { return Ok(false) };
    let [target] = cut.targets([dx], scratch);
    let wide = [is_wide(cuda, dy, &[g.outputs]), is_wide(cuda, w, &[g.inputs])];
    let sizes = sizes(&cut, wide, false);
    let kernel = cut.kernel(cuda, &BACKWARD_INPUT);
    let [dy, w, to] = cuda.addresses([dy, w, target]);
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &[&sizes, &dy, &w, &to])? };
    SUM.launch(cuda, &cut, target, (None, false), dx)?;
    Ok(true)
}

pub(super) fn backward_weights(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let cut = weights_cut(g);
    let [x, dy, dw, db, scratch] = slots;
    let outputs = [dw.len(), db.len()];
    let others = |cuda: &mut Cuda| ways(cuda, (cut, WEIGHTS_T), ([dy, x, dw], &outputs), scratch);
    let text = || text(g);
    let work = work("linear_backward_weights", g, &text, (slots, 2), &cut);
    cuda.work(&work, others, |cuda, way, slots| backward_weights_in(cuda, g, way, slots))
}

fn backward_weights_in(cuda: &mut Cuda, g: &Geometry, way: Way, slots: [Slot; 5]) -> Result<bool> {
    let [x, dy, dw, db, scratch] = slots;
    let cut = weights_cut(g);
    if let Way::Cublaslt(number) = way {
        let made = cuda.multiply(&product(&cut, WEIGHTS_T), number, [dy, x, dw], scratch)?;
        if made {
            SUM.add(cuda, (dy, g.images), (None, false), db)?;
        }
        return Ok(made);
    }
    let outputs = [dw.len(), db.len()];
    let Some(cut) = cut.in_way(way, &outputs, scratch) else { return Ok(false) };
    let [dw_target, db_target] = cut.targets([dw, db], scratch);
    let wide = [is_wide(cuda, dy, &[g.outputs]), is_wide(cuda, x, &[g.inputs])];
    let sizes = sizes(&cut, wide, false);
    let kernel = cut.kernel(cuda, &BACKWARD_WEIGHTS);
    let [x, dy, dw_to, db_to] = cuda.addresses([x, dy, dw_target, db_target]);
    // SAFETY: as above, for both targets.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &[&sizes, &dy, &x, &dw_to, &db_to])? };
    SUM.launch(cuda, &cut, dw_target, (None, false), dw)?;
    SUM.launch(cuda, &cut, db_target, (None, false), db)?;
    Ok(true)
}
