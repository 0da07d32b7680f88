//! On a GPU: four elements per thread; gradients of slopes in two launches, per block, then over
//! all.

use super::Geometry;
use crate::per_channel::{self, block_rows, blocks};
use tensor::{Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "prelu", bytes: include_bytes!("prelu.fatbin") };

/// The number of elements, the number of channels, and a thread for every four elements.
fn over(g: &Geometry) -> (u64, u32, Grid) {
    let n = g.rows * g.channels;
    (n as u64, g.channels as u32, Grid::over(n.div_ceil(4)))
}

/// `slots` are x, a and y.
pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 3]) -> Result<()> {
    let (n, channels, grid) = over(g);
    let [x, a, y] = cuda.addresses(slots);
    // SAFETY: the kernel's parameters in their order; `check` compared the slots with n and
    // channels.
    unsafe { cuda.launch(&IMAGE, "prelu_forward", grid, &[&channels, &x, &a, &y, &n]) }
}

/// `slots` are x, a, dy and dx.
pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (n, channels, grid) = over(g);
    let [x, a, dy, dx] = cuda.addresses(slots);
    let arguments = [&channels as &dyn Argument, &x, &a, &dy, &dx, &n];
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, "prelu_backward_input", grid, &arguments) }
}

/// `slots` are x, dy, da and scratch memory.
pub(super) fn backward_slopes(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (rows, channels) = (g.rows as u64, g.channels as u32);
    let (block_rows, blocks) = (block_rows(g.rows) as u32, blocks(g.rows) as u32);
    let [x, dy, da, scratch] = cuda.addresses(slots);
    let sums = [&rows as &dyn Argument, &channels, &block_rows, &x, &dy, &scratch];
    let grid = per_channel::grid(g.rows, g.channels);
    // SAFETY: the kernels' parameters in their order; the matrices have rows x channels elements,
    // da has channels, and scratch two floats per channel and block.
    unsafe {
        cuda.launch(&IMAGE, "prelu_backward_slopes", grid, &sums)?;
        let grid = Grid::over(g.channels);
        cuda.launch(&IMAGE, "prelu_slopes", grid, &[&channels, &blocks, &scratch, &da])
    }
}
