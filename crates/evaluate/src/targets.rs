//! Dense targets of the training loss: label smoothing, class weights, and mixed images.
//!
//! With `y` an image's class, `z` that of the image it is mixed with, `a` the weight of `y`, `e`
//! the label smoothing, `K` the number of classes and `w` their weights:
//!
//! ```text
//! t[c]   = (1 - e) (a [c = y] + (1 - a) [c = z]) + e / K
//! loss   = - (1 / N) sum over images and c of w[c] t[c] log p[c]                 mixed
//! loss   = - (1 / sum over images of w[y]) sum over ... of w[c] t[c] log p[c]    not mixed
//! ```
//!
//! This is PyTorch's `cross_entropy` with `weight` and `label_smoothing`: for class indices, the
//! mean is weighted; for probabilities, it is over images.

use data::{Batch, IGNORED};
use std::ops::Range;
use std::sync::Arc;

/// The settings of the training loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossSettings {
    /// The share of each target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// The weight of each class; `None`: one.
    pub class_weights: Option<Arc<[f32]>>,
}

/// A sum of class weights in units of the largest weight times 2^-40, so that it does not depend on
/// the order of its terms. A batch of 2^20 images fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightSum(pub u64);

impl WeightSum {
    const UNITS: f64 = (1u64 << 40) as f64;
    /// Bits of a part that ranks add as floats.
    const PART_BITS: u32 = 13;
    /// The number of those parts.
    pub const PARTS: usize = 5;

    /// The sum as parts that several ranks may add in f32 without rounding: integers below 2^13.
    pub fn to_parts(self) -> [f32; WeightSum::PARTS] {
        let part = |at: usize| (self.0 >> (at as u32 * WeightSum::PART_BITS)) & 0x1fff;
        std::array::from_fn(|at| part(at) as f32)
    }

    /// The sum of the ranks' sums, from the sums of their parts.
    pub fn from_parts(parts: [f32; WeightSum::PARTS]) -> WeightSum {
        let terms = parts.into_iter().enumerate();
        WeightSum(terms.map(|(at, part)| (part as u64) << (at as u32 * Self::PART_BITS)).sum())
    }
}

impl LossSettings {
    /// Whether labels alone are no target.
    pub fn is_dense(&self) -> bool {
        *self != LossSettings::default()
    }

    /// The sum of the weights of labelled images. `None` if their number is the normaliser: without
    /// class weights, or with mixed images.
    ///
    /// # Panics
    /// If a label is no class.
    pub fn weight_sum(&self, batch: &Batch) -> Option<WeightSum> {
        let weights = self.class_weights.as_ref().filter(|_| batch.mix.is_none())?;
        let labels = batch.labels.iter().filter(|&&label| label != IGNORED);
        let largest = largest(weights);
        let units = |&label: &u32| match f64::from(weights[label as usize]) {
            0.0 => 0,
            weight => ((weight / largest * WeightSum::UNITS).round() as u64).max(1),
        };
        Some(WeightSum(labels.map(units).sum()))
    }

    /// A sum of these class weights as a number.
    pub fn value_of(&self, sum: WeightSum) -> f64 {
        let largest = self.class_weights.as_deref().map_or(1.0, largest);
        sum.0 as f64 / WeightSum::UNITS * largest
    }

    /// Writes the targets of some rows, weighted and multiplied by `scale`, and the labels for the
    /// training error: the class of the largest target before weighting, the first of equal ones.
    /// Targets of rows that do not count are zero.
    ///
    /// # Panics
    /// If the lengths differ, or a label is no class.
    pub fn fill(
        &self,
        batch: &Batch,
        rows: Range<usize>,
        scale: f64,
        targets: &mut [f32],
        labels: &mut [u32],
    ) {
        let classes = targets.len() / rows.len().max(1);
        assert_eq!((labels.len(), targets.len()), (rows.len(), rows.len() * classes));
        let [own, rest] = batch.mix.map_or([1.0, 0.0], |mix| mix.label_weights());
        let even = (self.label_smoothing / classes as f64) as f32;
        let kept = (1.0 - self.label_smoothing) as f32;
        let outputs = targets.chunks_exact_mut(classes.max(1)).zip(labels);
        for ((targets, error_label), row) in outputs.zip(rows) {
            let label = batch.labels[row];
            *error_label = label;
            if label == IGNORED {
                targets.fill(0.0);
                continue;
            }
            targets.fill(even);
            targets[label as usize] += own * kept;
            if batch.mix.is_some() {
                let other = batch.other_labels[row];
                targets[other as usize] += rest * kept;
                let first = label.min(other);
                *error_label = match own.total_cmp(&rest) {
                    std::cmp::Ordering::Greater => label,
                    std::cmp::Ordering::Less => other,
                    std::cmp::Ordering::Equal => first,
                };
            }
            let scale = scale as f32;
            match &self.class_weights {
                Some(weights) => {
                    let pairs = targets.iter_mut().zip(&**weights);
                    pairs.for_each(|(target, weight)| *target *= weight * scale);
                }
                None if scale != 1.0 => targets.iter_mut().for_each(|target| *target *= scale),
                None => (),
            }
        }
    }
}

fn largest(weights: &[f32]) -> f64 {
    weights.iter().copied().fold(0.0, f32::max).into()
}

#[cfg(test)]
mod tests;
