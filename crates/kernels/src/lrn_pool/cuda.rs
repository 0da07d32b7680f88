//! On a GPU: one tile of y per block forward, whole towers of pixels backward.

use super::Geometry;
use crate::lrn::cuda::formula;
use crate::pool::cuda::{count, geometry};
use tensor::{Address, Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "lrn_pool", bytes: include_bytes!("lrn_pool.fatbin") };

/// Rows and columns of y, and groups of four channels, per block: the kernel's tile.
const TILE: [usize; 3] = [4, 8, 8];

/// Groups of four channels per tower; the last may have fewer channels.
fn groups(g: &Geometry) -> usize {
    g.tower().div_ceil(4)
}

/// The kernels' struct `Towers`, and the number of towers of a pixel.
fn towers(g: &Geometry) -> ([u32; 2], u32) {
    ([g.tower() as u32, groups(g) as u32], g.towers() as u32)
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let extents = [g.pool.out_height(), g.pool.out_width(), g.towers() * groups(g)];
    let tiles: usize =
        extents.into_iter().zip(TILE).map(|(extent, tile)| extent.div_ceil(tile)).product();
    let grid = Grid::of(g.pool.images * tiles, Grid::THREADS);
    let (formula, (towers, n), pool) = (formula(&g.lrn), towers(g), geometry(&g.pool));
    let [x, y]: [Address; 2] = cuda.addresses([x, y]);
    let arguments: [&dyn Argument; 6] = [&formula, &towers, &n, &pool, &x, &y];
    // SAFETY: lrn_pool_forward's parameters in their order; x and y have the geometry's shapes.
    unsafe { cuda.launch(&IMAGE, "lrn_pool_forward", grid, &arguments) }
}

/// `slots` are y, dy and x.
pub(super) fn backward_in_place(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 3]) -> Result<()> {
    let all = g.pool.images * g.pool.height * g.pool.width * g.towers();
    // A pixel has at most Geometry::ROOM floats, so a tower has no more groups than a block
    // threads.
    let held = Grid::THREADS as usize / groups(g).max(1);
    let grid = Grid::of(all.div_ceil(held), Grid::THREADS);
    let all = count(all, "towers");
    let (formula, (towers, n), pool) = (formula(&g.lrn), towers(g), geometry(&g.pool));
    let relu = u32::from(g.relu);
    let [y, dy, x]: [Address; 3] = cuda.addresses(slots);
    let arguments: [&dyn Argument; 9] = [&formula, &towers, &n, &all, &pool, &relu, &y, &dy, &x];
    // SAFETY: lrn_pool_backward's parameters in their order; the operands have the geometry's
    // shapes, and a block that writes over x has read all of it it needs.
    unsafe { cuda.launch(&IMAGE, "lrn_pool_backward", grid, &arguments) }
}
