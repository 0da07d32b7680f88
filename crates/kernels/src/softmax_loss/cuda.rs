//! On a GPU: one block per row, then one block that sums the rows of the tally.

use super::Geometry;
use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "softmax_loss", bytes: include_bytes!("softmax_loss.fatbin") };

/// Threads of a row's block: the kernels' `ROW_THREADS`.
const ROW_THREADS: u32 = 128;

/// `slots` are logits, labels, gradient and tally.
pub(super) fn forward_backward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    rows(cuda, "softmax_loss_gradient", g, slots)
}

/// `slots` are logits, labels, probabilities and tally.
pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    rows(cuda, "softmax_loss_probabilities", g, slots)
}

fn rows(cuda: &mut Cuda, kernel: &'static str, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let (images, classes) = (g.images as u32, g.classes as u32);
    let [logits, labels, written, tally] = cuda.addresses(slots);
    let (row_grid, one) = (Grid::of(g.images, ROW_THREADS), Grid::of(1, Grid::THREADS));
    // SAFETY: the kernels' parameters in their order; the slots fit the geometry, and a kernel
    // checks that a label is a class.
    unsafe {
        let arguments =
            [&images as &dyn tensor::Argument, &classes, &logits, &labels, &written, &tally];
        cuda.launch(&IMAGE, kernel, row_grid, &arguments)?;
        cuda.launch(&IMAGE, "softmax_loss_tally", one, &[&images, &tally])
    }
}

/// `slots` are logits, labels, targets, gradient and tally.
pub(super) fn forward_backward_dense(
    cuda: &mut Cuda,
    g: &Geometry,
    slots: [Slot; 5],
) -> Result<()> {
    let (images, classes) = (g.images as u32, g.classes as u32);
    let [logits, labels, targets, written, tally] = cuda.addresses(slots);
    let (row_grid, one) = (Grid::of(g.images, ROW_THREADS), Grid::of(1, Grid::THREADS));
    // SAFETY: the kernels' parameters in their order; the slots fit the geometry, and a kernel
    // checks that a label is a class.
    unsafe {
        let arguments = [
            &images as &dyn tensor::Argument,
            &classes,
            &logits,
            &labels,
            &targets,
            &written,
            &tally,
        ];
        cuda.launch(&IMAGE, "softmax_loss_dense_gradient", row_grid, &arguments)?;
        cuda.launch(&IMAGE, "softmax_loss_tally", one, &[&images, &tally])
    }
}
