//! On a GPU: one Philox block per thread, drawn where it is used.

use super::{Columns, Geometry};
use tensor::{Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "dropout", bytes: include_bytes!("dropout.fatbin") };

/// y = m x, scaled.
pub(super) fn mask(cuda: &mut Cuda, g: &Geometry, clock: Slot, x: Slot, y: Slot) -> Result<()> {
    let (n, grid) = (g.units as u64, Grid::over(g.units.div_ceil(4)));
    let (layer, drop, scale) = (g.layer, g.drop, g.training_scale());
    let whole = Columns { width: g.units, first: 0, whole: g.units };
    let Columns { width, first, whole } = g.columns.unwrap_or(whole);
    let columns = [width as u64, first as u64, whole as u64];
    let [clock, x, y] = cuda.addresses([clock, x, y]);
    let arguments: [&dyn Argument; 8] = [&clock, &layer, &columns, &drop, &scale, &x, &y, &n];
    // SAFETY: dropout_mask's parameters in their order; x and y hold n floats, the clock three
    // words.
    unsafe { cuda.launch(&IMAGE, "dropout_mask", grid, &arguments) }
}

/// y = scale x.
pub(super) fn scale(cuda: &mut Cuda, scale: f32, x: Slot, y: Slot) -> Result<()> {
    let (n, grid) = (x.len() as u64, Grid::over(x.len().div_ceil(4)));
    let [x, y] = cuda.addresses([x, y]);
    // SAFETY: dropout_scale's parameters in their order; both slots hold n floats.
    unsafe { cuda.launch(&IMAGE, "dropout_scale", grid, &[&scale, &x, &y, &n]) }
}
