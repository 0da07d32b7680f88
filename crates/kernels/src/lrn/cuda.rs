//! On a GPU: four channels of a pixel per thread; one element if windows are wider than [`NARROW`].

use super::{Geometry, Region};
use crate::pool::cuda::{GROUPS, count};
use tensor::{Address, Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "lrn", bytes: include_bytes!("lrn.fatbin") };

/// The widest window whose neighbours are the four channels before and after a thread's: the
/// kernels' `NARROW`.
const NARROW: usize = 9;

/// Threads of a block that write results: the first two and the last two only compute terms.
const WRITING: usize = Grid::THREADS as usize - 4;

/// Rows, columns and channels per block for windows over the map.
const TILE: [usize; 3] = [4, 8, 32];

/// The kernels' struct `Formula`; floats are passed as their bits.
pub(crate) fn formula(g: &Geometry) -> [u32; 7] {
    let power = match g.beta {
        0.75 => 0,
        0.5 => 1,
        1.0 => 2,
        _ => 3,
    };
    let (alpha, (below, above)) = (g.alpha_per_term(), g.reach());
    let [alpha, beta, k, twice] =
        [alpha, g.beta, g.k, 2.0 * alpha * g.beta].map(|constant| constant.to_bits());
    [alpha, beta, k, twice, power, below as u32, above as u32]
}

/// Channels of a tower.
fn tower(g: &Geometry, towers: usize) -> usize {
    g.channels / towers
}

/// The kernels' struct `Map`.
fn map(g: &Geometry) -> [u32; 4] {
    let tower = match g.region {
        Region::AcrossChannels { towers } => tower(g, towers),
        Region::WithinChannel => 0,
    };
    [g.height, g.width, g.channels, tower].map(|extent| extent as u32)
}

/// Groups of four channels in the whole batch.
fn groups(pixels: usize, towers: usize, tower: usize) -> u32 {
    count(pixels * towers * tower.div_ceil(4), GROUPS)
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let (formula, map, pixels) = (formula(g), map(g), g.images * g.height * g.width);
    let [x, y]: [Address; 2] = cuda.addresses([x, y]);
    // SAFETY: each kernel's parameters in their order; both slots have the geometry's shape.
    unsafe {
        match g.region {
            _ if g.size > NARROW => {
                let n = g.shape().len();
                let arguments: [&dyn Argument; 5] = [&formula, &map, &x, &y, &(n as u64)];
                cuda.launch(&IMAGE, "lrn_wide_forward", Grid::over(n), &arguments)
            }
            Region::AcrossChannels { towers } => {
                let tower = tower(g, towers);
                let n = groups(pixels, towers, tower);
                let extents = [tower, tower.div_ceil(4)].map(|extent| extent as u32);
                let arguments: [&dyn Argument; 5] = [&formula, &extents, &x, &y, &n];
                cuda.launch(&IMAGE, "lrn_across_forward", Grid::over(n as usize), &arguments)
            }
            Region::WithinChannel => {
                let n = groups(pixels, 1, g.channels);
                let arguments: [&dyn Argument; 5] = [&formula, &map, &x, &y, &n];
                cuda.launch(&IMAGE, "lrn_within_forward", Grid::over(n as usize), &arguments)
            }
        }
    }
}

pub(super) fn backward(cuda: &mut Cuda, g: &Geometry, x: Slot, dy: Slot, dx: Slot) -> Result<()> {
    let (formula, map, pixels) = (formula(g), map(g), g.images * g.height * g.width);
    let [x, dy, dx]: [Address; 3] = cuda.addresses([x, dy, dx]);
    // SAFETY: each kernel's parameters in their order; the slots have the geometry's shape.
    unsafe {
        match g.region {
            _ if g.size > NARROW => {
                let n = g.shape().len();
                let arguments: [&dyn Argument; 6] = [&formula, &map, &x, &dy, &dx, &(n as u64)];
                cuda.launch(&IMAGE, "lrn_wide_backward", Grid::over(n), &arguments)
            }
            Region::AcrossChannels { towers } => {
                let tower = tower(g, towers);
                let n = groups(pixels, towers, tower);
                let extents = [tower, tower.div_ceil(4)].map(|extent| extent as u32);
                let grid = Grid::of((n as usize).div_ceil(WRITING), Grid::THREADS);
                let arguments: [&dyn Argument; 6] = [&formula, &extents, &x, &dy, &dx, &n];
                cuda.launch(&IMAGE, "lrn_across_backward", grid, &arguments)
            }
            Region::WithinChannel => {
                let extents = [g.height, g.width, g.channels].into_iter().zip(TILE);
                let tiles: usize = extents.map(|(extent, tile)| extent.div_ceil(tile)).product();
                let grid = Grid::of(g.images * tiles, Grid::THREADS);
                let arguments: [&dyn Argument; 5] = [&formula, &map, &x, &dy, &dx];
                cuda.launch(&IMAGE, "lrn_within_backward", grid, &arguments)
            }
        }
    }
}
