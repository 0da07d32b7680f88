//! On a GPU: four columns of a row per thread.

use super::{ColumnRange, Geometry};
use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "columns", bytes: include_bytes!("columns.fatbin") };

/// y = x, in the ranges of columns.
pub(super) fn copy(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    launch(cuda, "columns_copy", g, x, y)
}

/// y += x, in the ranges of columns.
pub(super) fn add(cuda: &mut Cuda, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    launch(cuda, "columns_add", g, x, y)
}

fn launch(cuda: &mut Cuda, kernel: &'static str, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let (rows, count) = (g.rows as u64, g.count as u64);
    let [from, to] = [g.x, g.y].map(|ColumnRange { width, first }| [width as u64, first as u64]);
    let grid = Grid::over(g.rows * g.count.div_ceil(4));
    let [x, y] = cuda.addresses([x, y]);
    // SAFETY: both kernels' parameters in their order; `check` compared slots and ranges.
    unsafe { cuda.launch(&IMAGE, kernel, grid, &[&x, &y, &rows, &count, &from, &to]) }
}
