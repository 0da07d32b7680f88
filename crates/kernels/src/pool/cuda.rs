//! On a card: four channels of a pixel a thread; backward gathers.

use super::{Geometry, Kind, Ties};
use tensor::{Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "pool", bytes: include_bytes!("pool.fatbin") };

/// The kernels' `Geometry`.
fn geometry(g: &Geometry) -> [u32; 8] {
    [g.height, g.width, g.channels, g.out_height(), g.out_width(), g.window, g.stride, g.pad]
        .map(|extent| extent as u32)
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let threads = g.images * g.out_height() * g.out_width() * g.channels.div_ceil(4);
    let (n, grid, extents) = (threads as u64, Grid::over(threads), geometry(g));
    let [x, y] = cuda.addresses([x, y]);
    let kernel = match g.kind {
        Kind::Max { .. } => "pool_max_forward",
        Kind::Average => "pool_average_forward",
    };
    // SAFETY: both kernels' parameters in their order; the slots have the geometry's shapes.
    unsafe { cuda.launch(&IMAGE, kernel, grid, &[&extents, &x, &y, &n]) }
}

pub(super) fn backward(
    cuda: &mut Cuda,
    g: &Geometry,
    x: Slot,
    y: Slot,
    dy: Slot,
    dx: Slot,
) -> Result<()> {
    let threads = g.images * g.height * g.width * g.channels.div_ceil(4);
    let (n, grid, extents) = (threads as u64, Grid::over(threads), geometry(g));
    let [x, y, dy, dx] = cuda.addresses([x, y, dy, dx]);
    // SAFETY: each kernel's parameters in their order; the slots have the geometry's shapes.
    unsafe {
        match g.kind {
            Kind::Max { ties } => {
                let first_only = u32::from(ties == Ties::First);
                let arguments: [&dyn Argument; 7] = [&extents, &first_only, &x, &y, &dy, &dx, &n];
                cuda.launch(&IMAGE, "pool_max_backward", grid, &arguments)
            }
            Kind::Average => {
                cuda.launch(&IMAGE, "pool_average_backward", grid, &[&extents, &dy, &dx, &n])
            }
        }
    }
}
