//! On a GPU: one launch for all segments, four parameters per thread. Rates are read on the device.

use super::{BETA_2, EPSILON, Hyperparameters};
use crate::segments::launches;
use crate::sgd::Segment;
use tensor::{Argument, Cuda, Image, Result, Slot};

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
    let table = cuda.address(table);
    let [dw, w, m, s] = cuda.addresses(blocks);
    for (segments, grid) in launches(segments) {
        let arguments: [&dyn Argument; 8] =
            [&constants, &segments, &table, &corrections, &dw, &w, &m, &s];
        // SAFETY: the kernels' parameters in their order; the blocks hold every segment, the table
        // has a row for each, and there are two corrections.
        unsafe { cuda.launch(&IMAGE, kernel, grid, &arguments)? };
    }
    Ok(())
}
