//! On a GPU: one launch per segment, four parameters per thread. Rates are read on the device.

use super::{BETA_2, EPSILON, Hyperparameters};
use crate::sgd::Segment;
use tensor::{Argument, Cuda, Grid, Image, Result, Shape, Slot};

static IMAGE: Image = Image { op: "adam", bytes: include_bytes!("adam.fatbin") };

pub(super) fn step(
    cuda: &mut Cuda,
    segments: &[Segment],
    Hyperparameters { table, corrections, decoupled }: Hyperparameters,
    blocks: [Slot; 4],
) -> Result<()> {
    let constants = [BETA_2 as f32, (1.0 - BETA_2) as f32, EPSILON];
    let kernel = if decoupled { "adam_step_decoupled" } else { "adam_step" };
    let corrections = cuda.address(corrections);
    let segments = segments.iter().enumerate();
    for (idx, segment) in segments.filter(|(_, segment)| segment.len > 0) {
        let rates = cuda.address(table.part(3 * idx, Shape::from([3])));
        let part = |slot: Slot| slot.part(segment.start, Shape::from([segment.len]));
        let [dw, w, m, s] = cuda.addresses(blocks.map(part));
        let n = segment.len as u64;
        let grid = Grid::over(segment.len.div_ceil(4));
        let arguments = [&constants as &dyn Argument, &rates, &corrections, &dw, &w, &m, &s, &n];
        // SAFETY: the kernels' parameters in their order; each part holds n floats, the rates three,
        // the corrections two.
        unsafe { cuda.launch(&IMAGE, kernel, grid, &arguments)? };
    }
    Ok(())
}
