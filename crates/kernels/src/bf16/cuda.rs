//! On a GPU: four elements per thread.

use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "bf16", bytes: include_bytes!("bf16.fatbin") };

pub(super) fn pack(cuda: &mut Cuda, x: Slot, y: Slot) -> Result<()> {
    launch(cuda, "bf16_pack", x, y, x.len())
}

pub(super) fn add_packed(cuda: &mut Cuda, x: Slot, y: Slot) -> Result<()> {
    launch(cuda, "bf16_add_packed", x, y, y.len())
}

pub(super) fn add_rounded(cuda: &mut Cuda, x: Slot, y: Slot) -> Result<()> {
    launch(cuda, "bf16_add_rounded", x, y, y.len())
}

/// `n`: the number of elements that are rounded.
fn launch(cuda: &mut Cuda, kernel: &'static str, x: Slot, y: Slot, n: usize) -> Result<()> {
    let grid = Grid::over(n.div_ceil(4));
    let ([x, y], n) = (cuda.addresses([x, y]), n as u64);
    // SAFETY: all kernels' parameters in their order; `check` compared the slots' lengths.
    unsafe { cuda.launch(&IMAGE, kernel, grid, &[&x, &y, &n]) }
}
