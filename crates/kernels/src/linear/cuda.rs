//! On a card: three products of plain matrices, and where k is cut into slices the sum over them.

use super::Geometry;
use crate::gemm::cuda::{Cut, Kernels, Sum, is_wide};
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

/// The kernels' `Sizes`.
fn sizes(cut: &Cut, wide: [u32; 2], relu: bool) -> [u32; 8] {
    let [rows, columns, depth, slice, across] =
        [cut.rows, cut.columns, cut.depth, cut.slice(), cut.tiles_across()].map(|n| n as u32);
    [rows, columns, depth, slice, across, wide[0], wide[1], u32::from(relu)]
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let [x, w, b, y, scratch] = slots;
    let cut = forward_cut(g);
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
    SUM.launch(cuda, &cut, target, (Some(b), g.relu), y)
}

pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let [dy, w, dx, scratch] = slots;
    let cut = input_cut(g);
    let [target] = cut.targets([dx], scratch);
    let wide = [is_wide(cuda, dy, &[g.outputs]), is_wide(cuda, w, &[g.inputs])];
    let sizes = sizes(&cut, wide, false);
    let kernel = cut.kernel(cuda, &BACKWARD_INPUT);
    let [dy, w, to] = cuda.addresses([dy, w, target]);
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &[&sizes, &dy, &w, &to])? };
    SUM.launch(cuda, &cut, target, (None, false), dx)
}

pub(super) fn backward_weights(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let [x, dy, dw, db, scratch] = slots;
    let cut = weights_cut(g);
    let [dw_target, db_target] = cut.targets([dw, db], scratch);
    let wide = [is_wide(cuda, dy, &[g.outputs]), is_wide(cuda, x, &[g.inputs])];
    let sizes = sizes(&cut, wide, false);
    let kernel = cut.kernel(cuda, &BACKWARD_WEIGHTS);
    let [x, dy, dw_to, db_to] = cuda.addresses([x, dy, dw_target, db_target]);
    // SAFETY: as above, for both targets.
    unsafe { cuda.launch(&IMAGE, kernel, cut.grid(), &[&sizes, &dy, &x, &dw_to, &db_to])? };
    SUM.launch(cuda, &cut, dw_target, (None, false), dw)?;
    SUM.launch(cuda, &cut, db_target, (None, false), db)
}
