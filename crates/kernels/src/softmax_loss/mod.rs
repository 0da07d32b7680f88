//! Softmax, cross-entropy loss and its gradient, and top-1 and top-5 errors, in one pass.
//!
//! ```text
//! p[n][c]       = exp(x[n][c] - max) / sum over d of exp(x[n][d] - max)
//! loss          = - sum over n of log p[n][label n]
//! dlogits[n][c] = (p[n][c] - [c = label n]) / images counted
//! ```
//!
//! With dense targets t, which need not sum to one, the label counts for the errors only:
//!
//! ```text
//! loss          = - sum over n and c of t[n][c] log p[n][c]
//! dlogits[n][c] = (p[n][c] sum over d of t[n][d] - t[n][c]) / images counted
//! ```
//!
//! If several classes have the label's score, a top-k prediction is partly correct, as in the 2012
//! source: with g scores above the label's and e equal to it (itself included), its credit is
//! min(1, (k - g) / e), at least 0. The error is one minus the credit.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Shape, Slot};

/// The label of an image that does not count: padding of a last, short batch.
pub const IGNORED: u32 = u32::MAX;

/// The sizes of a batch of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows: images of the batch.
    pub images: usize,
    /// Scores per row.
    pub classes: usize,
}

impl Geometry {
    fn check(&self, scores: [Slot; 2], labels: Slot, tally: Slot) {
        for slot in scores {
            let expected = self.images * self.classes;
            assert_eq!(slot.len(), expected, "scores of {} x {}", self.images, self.classes);
        }
        assert!(labels.len() == self.images && labels.dtype() == DType::U32, "one label per image");
        let tally_len = tally_shape(self.images).len();
        assert_eq!(tally.len(), tally_len, "four floats of sums, and four per image");
    }
}

/// The shape of the tally of so many images: a row of four floats for the sums, then one per image.
pub fn tally_shape(images: usize) -> Shape {
    Shape::from([1 + images, 4])
}

/// Computes losses, errors and the gradient of the mean loss.
///
/// A row of `tally` becomes `[loss, top-1 error, top-5 error, 1]` of its image, zeros if the image
/// is ignored; the first row is the sum of the others.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If slots do not fit the geometry, or, on a CPU, if a label is not a class; on a GPU the loss is
/// NaN then.
pub fn forward_backward(
    device: &mut Device,
    g: &Geometry,
    logits: Slot,
    labels: Slot,
    dlogits: Slot,
    tally: Slot,
) -> Result<()> {
    g.check([logits, dlogits], labels, tally);
    match device {
        Device::Cpu(cpu) => cpu::forward_backward(cpu, g, [logits, labels, dlogits, tally]),
        Device::Cuda(cuda) => cuda::forward_backward(cuda, g, [logits, labels, dlogits, tally]),
    }
}

/// As [`forward_backward`], with dense targets: `[images, classes]`, not negative. `labels` are
/// those of the errors; rows with the label [`IGNORED`] do not count.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`forward_backward`].
pub fn forward_backward_dense(
    device: &mut Device,
    g: &Geometry,
    inputs: DenseInputs,
    dlogits: Slot,
    tally: Slot,
) -> Result<()> {
    let DenseInputs { logits, labels, targets } = inputs;
    g.check([logits, dlogits], labels, tally);
    g.check([logits, targets], labels, tally);
    let slots = [logits, labels, targets, dlogits, tally];
    match device {
        Device::Cpu(cpu) => cpu::forward_backward_dense(cpu, g, slots),
        Device::Cuda(cuda) => cuda::forward_backward_dense(cuda, g, slots),
    }
}

/// What [`forward_backward_dense`] reads.
#[derive(Clone, Copy, Debug)]
pub struct DenseInputs {
    /// f32, `[images, classes]`.
    pub logits: Slot,
    /// u32, `[images]`.
    pub labels: Slot,
    /// f32, `[images, classes]`.
    pub targets: Slot,
}

/// Computes losses, errors and the probabilities of every row, including ignored images.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`forward_backward`].
pub fn forward(
    device: &mut Device,
    g: &Geometry,
    logits: Slot,
    labels: Slot,
    probabilities: Slot,
    tally: Slot,
) -> Result<()> {
    g.check([logits, probabilities], labels, tally);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, [logits, labels, probabilities, tally]),
        Device::Cuda(cuda) => cuda::forward(cuda, g, [logits, labels, probabilities, tally]),
    }
}

/// The top-`k` error of an image: one minus the credit. 1 if the label's score is NaN.
pub fn top_error(scores: &[f32], label: usize, k: usize) -> f64 {
    LabelRank::of(scores, label).error(k)
}

/// How many scores are above the label's, and equal to it.
struct LabelRank {
    above: u32,
    equal: u32,
}

impl LabelRank {
    #[inline(always)]
    fn of(scores: &[f32], label: usize) -> LabelRank {
        let own = scores[label];
        let (mut above, mut equal) = (0, 0);
        for &score in scores {
            above += u32::from(score > own || score.is_nan());
            equal += u32::from(score == own);
        }
        LabelRank { above, equal }
    }

    fn error(&self, k: usize) -> f64 {
        match k.checked_sub(self.above as usize) {
            Some(free) if self.equal > 0 => 1.0 - (free as f64 / f64::from(self.equal)).min(1.0),
            _ => 1.0,
        }
    }
}
