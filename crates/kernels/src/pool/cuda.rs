//! On a GPU: four channels of a pixel a thread; backward gathers.

use super::{Geometry, Kind, Ties};
use tensor::{Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "pool", bytes: include_bytes!("pool.fatbin") };

/// The kernels' `Pooling`.
pub(crate) fn geometry(g: &Geometry) -> [u32; 8] {
    [g.height, g.width, g.channels, g.out_height(), g.out_width(), g.window, g.stride, g.pad]
        .map(|extent| extent as u32)
}

/// What a thread works on.
pub(crate) const GROUPS: &str = "groups of four channels";

/// So many of `what`, in 32 bits: so kernels count, for division in them is fast.
///
/// # Panics
/// If there are more.
pub(crate) fn count(n: usize, what: &str) -> u32 {
    u32::try_from(n).unwrap_or_else(|_| panic!("{n} {what}"))
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let threads = g.images * g.out_height() * g.out_width() * g.channels.div_ceil(4);
    let (n, grid, extents) = (count(threads, GROUPS), Grid::over(threads), geometry(g));
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
    launch_backward(cuda, g, false, [x, y, dy, dx])
}

pub(super) fn backward_in_place(
    cuda: &mut Cuda,
    g: &Geometry,
    relu: bool,
    y: Slot,
    dy: Slot,
    x: Slot,
) -> Result<()> {
    launch_backward(cuda, g, relu, [x, y, dy, x])
}

/// Of x, y, dy, dx; dx may be x if the kind fits in place.
fn launch_backward(cuda: &mut Cuda, g: &Geometry, relu: bool, slots: [Slot; 4]) -> Result<()> {
    let threads = g.images * g.height * g.width * g.channels.div_ceil(4);
    let (n, grid, extents) = (count(threads, GROUPS), Grid::over(threads), geometry(g));
    let [x, y, dy, dx] = cuda.addresses(slots);
    let relu = u32::from(relu);
    // SAFETY: each kernel's parameters in their order; the slots have the geometry's shapes.
    unsafe {
        match g.kind {
            Kind::Max { ties } => {
                let first_only = u32::from(ties == Ties::First);
                let arguments: [&dyn Argument; 8] =
                    [&extents, &first_only, &relu, &x, &y, &dy, &dx, &n];
                cuda.launch(&IMAGE, "pool_max_backward", grid, &arguments)
            }
            Kind::Average => {
                let arguments: [&dyn Argument; 6] = [&extents, &relu, &x, &dy, &dx, &n];
                cuda.launch(&IMAGE, "pool_average_backward", grid, &arguments)
            }
        }
    }
}
