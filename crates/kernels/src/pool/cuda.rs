//! On a GPU: four channels of a pixel per thread; a thread of the backward pass gathers its sums.

use super::{Geometry, Reduction, Ties};
use tensor::{Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "pool", bytes: include_bytes!("pool.fatbin") };

/// The kernels' struct `Pooling`.
pub(crate) fn geometry(g: &Geometry) -> [u32; 8] {
    [g.height, g.width, g.channels, g.out_height(), g.out_width(), g.window, g.stride, g.pad]
        .map(|extent| extent as u32)
}

/// The unit of work of a thread.
pub(crate) const GROUPS: &str = "groups of four channels";

/// `n` as u32, in which kernels count, because their divisions are faster than those of u64.
///
/// # Panics
/// If `n` does not fit; `what` names what is counted.
pub(crate) fn count(n: usize, what: &str) -> u32 {
    u32::try_from(n).unwrap_or_else(|_| panic!("{n} {what}"))
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let threads = g.images * g.out_height() * g.out_width() * g.channels.div_ceil(4);
    let (n, grid, extents) = (count(threads, GROUPS), Grid::over(threads), geometry(g));
    let [x, y] = cuda.addresses([x, y]);
    let kernel = match g.reduction {
        Reduction::Max { .. } => "pool_max_forward",
        Reduction::Average => "pool_average_forward",
    };
    // SAFETY: both kernels' parameters in their order; the slots have the geometry's shapes.
    unsafe { cuda.launch(&IMAGE, kernel, grid, &[&extents, &x, &y, &n]) }
}

/// `slots` are x, y, dy and dx; dx may be x if the reduction fits in place. With
/// `relu`, the mask of the ReLU whose output is x is applied.
pub(super) fn backward(cuda: &mut Cuda, g: &Geometry, relu: bool, slots: [Slot; 4]) -> Result<()> {
    let threads = g.images * g.height * g.width * g.channels.div_ceil(4);
    let (n, grid, extents) = (count(threads, GROUPS), Grid::over(threads), geometry(g));
    let [x, y, dy, dx] = cuda.addresses(slots);
    let relu = u32::from(relu);
    // SAFETY: each kernel's parameters in their order; the slots have the geometry's shapes.
    unsafe {
        match g.reduction {
            Reduction::Max { ties } => {
                let first_only = u32::from(ties == Ties::First);
                let arguments: [&dyn Argument; 8] =
                    [&extents, &first_only, &relu, &x, &y, &dy, &dx, &n];
                cuda.launch(&IMAGE, "pool_max_backward", grid, &arguments)
            }
            Reduction::Average => {
                let arguments: [&dyn Argument; 6] = [&extents, &relu, &x, &dy, &dx, &n];
                cuda.launch(&IMAGE, "pool_average_backward", grid, &arguments)
            }
        }
    }
}
