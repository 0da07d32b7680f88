//! On a GPU: one warp per row; gradients of scale and shift by blocks of rows, then over all
//! blocks.

use super::{Backward, Geometry};
use crate::per_channel::{self, block_rows, blocks};
use tensor::{Address, Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "layer_norm", bytes: include_bytes!("layer_norm.fatbin") };

/// Rows per block: one per warp.
const ROWS: usize = Grid::THREADS as usize / 32;

/// `slots` are x, scale, shift and y.
pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (rows, channels) = (g.rows as u64, g.channels as u32);
    let [x, scale, shift, y] = cuda.addresses(slots);
    let arguments = [&rows as &dyn Argument, &channels, &g.epsilon, &x, &scale, &shift, &y];
    let grid = Grid::of(g.rows.div_ceil(ROWS), Grid::THREADS);
    // SAFETY: the kernel's parameters in their order; `check` compared the slots with the sizes.
    unsafe { cuda.launch(&IMAGE, "layer_norm_forward", grid, &arguments) }
}

pub(super) fn backward(cuda: &mut Cuda, g: &Geometry, b: &Backward, scratch: Slot) -> Result<()> {
    let (rows, channels) = (g.rows as u64, g.channels as u32);
    let (block_rows, blocks) = (block_rows(g.rows) as u32, blocks(g.rows) as u32);
    let [statistics, partials] = cuda.addresses(g.parts(scratch));
    let [x, dy, scale] = cuda.addresses([b.x, b.dy, b.scale]);
    let [d_scale, d_shift] = cuda.addresses([b.d_scale, b.d_shift]);
    let dx = b.dx.map_or(Address::NOWHERE, |dx| cuda.address(dx));
    let inputs = [&rows as &dyn Argument, &channels, &g.epsilon, &x, &dy, &scale, &statistics, &dx];
    let sums = [&rows as &dyn Argument, &channels, &block_rows, &x, &dy, &statistics, &partials];
    let totals = [&channels as &dyn Argument, &blocks, &partials, &d_scale, &d_shift];
    let warps = Grid::of(g.rows.div_ceil(ROWS), Grid::THREADS);
    let strips = per_channel::grid(g.rows, g.channels);
    // SAFETY: each kernel's parameters in their order; the matrices have rows x channels elements,
    // the vectors channels, `statistics` two floats per row, `partials` four per channel and block;
    // dx is not written if its address is NOWHERE.
    unsafe {
        cuda.launch(&IMAGE, "layer_norm_backward", warps, &inputs)?;
        cuda.launch(&IMAGE, "layer_norm_sums", strips, &sums)?;
        cuda.launch(&IMAGE, "layer_norm_gradients", Grid::over(g.channels), &totals)
    }
}
