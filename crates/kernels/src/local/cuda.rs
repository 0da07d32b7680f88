//! On a GPU: a matrix product at every pixel, 32 x 32 elements per block. No scratch memory.

use super::Geometry;
use tensor::{Address, Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "local", bytes: include_bytes!("local.fatbin") };

/// Rows and columns of a product per block, and its threads: the kernels' `SIDE` and `BLOCK`.
const SIDE: usize = 32;
const BLOCK: u32 = 64;

/// One block for each part of each group's product at each of `pixels`.
fn grid(g: &Geometry, pixels: usize, rows: usize, columns: usize) -> Grid {
    Grid::of(pixels * g.groups * rows.div_ceil(SIDE) * columns.div_ceil(SIDE), BLOCK)
}

/// `slots` are x, w, b and y.
pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (extents, relu) = (g.extents(), u32::from(g.relu));
    let grid = grid(g, g.pixels(), g.images, g.filters / g.groups);
    let [x, w, b, y]: [Address; 4] = cuda.addresses(slots);
    let arguments: [&dyn Argument; 6] = [&extents, &relu, &x, &w, &b, &y];
    // SAFETY: local_forward's parameters in their order; the slots have the geometry's shapes.
    unsafe { cuda.launch(&IMAGE, "local_forward", grid, &arguments) }
}

/// `slots` are dy, w and dx.
pub(super) fn backward_input(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 3]) -> Result<()> {
    let extents = g.extents();
    let grid = grid(g, g.height * g.width, g.images, g.channels / g.groups);
    let [dy, w, dx]: [Address; 3] = cuda.addresses(slots);
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, "local_backward_input", grid, &[&extents, &dy, &w, &dx]) }
}

/// `slots` are x, dy, dw and db.
pub(super) fn backward_filter(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let extents = g.extents();
    let taps = g.window.0 * g.window.1 * (g.channels / g.groups);
    let grid = grid(g, g.pixels(), g.filters / g.groups, taps);
    let [x, dy, dw, db]: [Address; 4] = cuda.addresses(slots);
    let arguments: [&dyn Argument; 5] = [&extents, &x, &dy, &dw, &db];
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, "local_backward_filter", grid, &arguments) }
}
