//! On a GPU: four elements per thread.

use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "average", bytes: include_bytes!("average.fatbin") };

pub(super) fn step(cuda: &mut Cuda, factor: Slot, x: Slot, y: Slot) -> Result<()> {
    let n = y.len() as u64;
    let grid = Grid::over(y.len().div_ceil(4));
    let [factor, x, y] = cuda.addresses([factor, x, y]);
    // SAFETY: average_step's parameters in their order; x and y hold n floats, the factor one.
    unsafe { cuda.launch(&IMAGE, "average_step", grid, &[&factor, &x, &y, &n]) }
}
