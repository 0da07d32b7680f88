//! On a GPU: one launch per segment, four parameters per thread. Rates are read on the device.

use super::{Rule, Segment};
use tensor::{Cuda, Grid, Image, Result, Shape, Slot};

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
    let segments = segments.iter().enumerate();
    for (idx, segment) in segments.filter(|(_, segment)| segment.len > 0) {
        let rates = cuda.address(table.part(3 * idx, Shape::from([3])));
        let part = |slot: Slot| slot.part(segment.start, Shape::from([segment.len]));
        let [dw, w, v] = cuda.addresses(blocks.map(part));
        let n = segment.len as u64;
        let grid = Grid::over(segment.len.div_ceil(4));
        // SAFETY: the kernels' parameters in their order; each part holds n floats, the rates three.
        unsafe { cuda.launch(&IMAGE, kernel, grid, &[&rates, &dw, &w, &v, &n])? };
    }
    Ok(())
}
