//! On a GPU: a block a row, then one that adds up the rows of the tally.

use super::Geometry;
use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "softmax_loss", bytes: include_bytes!("softmax_loss.fatbin") };

/// Threads of a row's block: the kernels' `ROW_THREADS`.
const ROW_THREADS: u32 = 128;

/// Of logits, labels, gradient and tally.
pub(super) fn forward_backward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    rows(cuda, "softmax_loss_gradient", g, slots)
}

/// Of logits, labels, probabilities and tally.
pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    rows(cuda, "softmax_loss_probabilities", g, slots)
}

fn rows(cuda: &mut Cuda, kernel: &'static str, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (images, classes) = (g.images as u32, g.classes as u32);
    let [logits, labels, written, tally] = cuda.addresses(slots);
    let (a_row_each, one) = (Grid::of(g.images, ROW_THREADS), Grid::of(1, Grid::THREADS));
    // SAFETY: the kernels' parameters in their order; the slots fit the geometry, and a kernel
    // looks whether a label names a class.
    unsafe {
        let arguments =
            [&images as &dyn tensor::Argument, &classes, &logits, &labels, &written, &tally];
        cuda.launch(&IMAGE, kernel, a_row_each, &arguments)?;
        cuda.launch(&IMAGE, "softmax_loss_tally", one, &[&images, &tally])
    }
}
