//! On a GPU: one launch for all segments, four parameters per thread. Rates are read on the device.

use super::{Rule, Segment};
use crate::segments::launches;
use tensor::{Cuda, Image, Result, Slot};

static IMAGE: Image = Image { op: "sgd", bytes: include_bytes!("sgd.fatbin") };

pub(super) fn step(
    cuda: &mut Cuda,
    rule: Rule,
    segments: &[Segment],
    table: Slot,
    blocks: [Slot; 3],
) -> Result<()> {
    let kernel = match rule {
        Rule::Paper => "sgd_step",
        Rule::PaperNesterov => "sgd_step_nesterov",
        Rule::Pytorch => "sgd_step_pytorch",
        Rule::PytorchNesterov => "sgd_step_pytorch_nesterov",
    };
    let table = cuda.address(table);
    let [dw, w, v] = cuda.addresses(blocks);
    for (segments, grid) in launches(segments) {
        // SAFETY: the kernels' parameters in their order; the blocks hold every segment, and the
        // table has a row for each.
        unsafe { cuda.launch(&IMAGE, kernel, grid, &[&segments, &table, &dw, &w, &v])? };
    }
    Ok(())
}
