//! Quality measures of a test as scikit-learn has them: precision, recall, F1 and their means over
//! classes, balanced accuracy, the area under ROC curves, and the calibration of confidences.
//!
//! The predicted class is the most probable one, of equals the lower one, as NumPy's `argmax`. The
//! top-1 error of a [`Score`](crate::Score) shares the credit of equals instead, so that accuracy
//! and 1 - top-1 error differ by ties.

use super::Predictions;
use serde::Serialize;

/// More classes than this have no area under ROC curves, which sorts all images once per class.
pub const MAX_AUC_CLASSES: usize = 100;

/// Number of equal intervals of confidence of the calibration error, as in Guo et al. 2017 (On
/// Calibration of Modern Neural Networks).
pub const BINS: usize = 15;

/// Quality measures over all images and classes; zero where there are no images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Number of images.
    pub images: u64,
    /// Share of images whose predicted class is theirs.
    pub accuracy: f64,
    /// Mean recall of the classes that have images (`balanced_accuracy_score`).
    pub balanced_accuracy: f64,
    /// Means over the classes that have images or predictions, each with the same weight
    /// (`average="macro"`).
    pub macro_mean: PrecisionRecall,
    /// Means over classes weighted by their number of images (`average="weighted"`).
    pub weighted_mean: PrecisionRecall,
    /// The mean area under the ROC curves, each of one class against all others
    /// (`roc_auc_score(multi_class="ovr", average="macro")`), over the classes that have images.
    /// `None` with more than [`MAX_AUC_CLASSES`] classes, or if all images are of one class.
    pub auc: Option<f64>,
    /// Whether confidences are accuracies.
    pub calibration: Calibration,
}

/// Rates of a class, or their means over classes. A class that is never predicted has precision 0, one without images recall
/// 0, and F1 is 0 where both are (`zero_division=0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PrecisionRecall {
    /// The share of predictions of a class that are right.
    pub precision: f64,
    /// The share of a class's images that are predicted as it.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
}

/// A comparison of confidence, the probability of the predicted class, with accuracy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Calibration {
    /// The expected calibration error: the mean of |accuracy - confidence| over the bins, weighted
    /// by their number of images.
    pub error: f64,
    /// Bin `i` of [`BINS`] has the images with confidence in `(i / BINS, (i + 1) / BINS]`.
    pub bins: Vec<ReliabilityBin>,
}

/// The images in an interval of confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Number of images.
    pub images: u64,
    /// Their mean confidence; 0 if there are none.
    pub confidence: f64,
    /// The share of them whose predicted class is theirs; 0 if there are none.
    pub accuracy: f64,
}

/// Counts of a class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassCounts {
    pub(super) images: u64,
    pub(super) predicted: u64,
    pub(super) right: u64,
}

impl ClassCounts {
    /// Precision, recall and F1.
    pub(super) fn rates(self) -> PrecisionRecall {
        let share = |of: u64| self.right as f64 / of.max(1) as f64;
        let f1 = 2.0 * self.right as f64 / (self.images + self.predicted).max(1) as f64;
        PrecisionRecall { precision: share(self.predicted), recall: share(self.images), f1 }
    }
}

impl Predictions {
    /// Quality measures over all images and classes.
    pub fn quality(&self) -> Quality {
        let counts = self.counts();
        let right: u64 = counts.iter().map(|class| class.right).sum();
        let images = self.len() as u64;
        let is_present = |class: &&ClassCounts| class.images + class.predicted > 0;
        let present = counts.iter().filter(is_present);
        let has_images = counts.iter().filter(|class| class.images > 0);
        Quality {
            images,
            accuracy: right as f64 / images.max(1) as f64,
            balanced_accuracy: weighted(has_images.map(|class| (class, 1.0))).recall,
            macro_mean: weighted(present.map(|class| (class, 1.0))),
            weighted_mean: weighted(counts.iter().map(|class| (class, class.images as f64))),
            auc: self.auc(),
            calibration: self.calibration(),
        }
    }

    /// The counts of every class.
    pub(super) fn counts(&self) -> Vec<ClassCounts> {
        let mut counts = vec![ClassCounts::default(); self.classes];
        for (at, &label) in self.labels.iter().enumerate() {
            let predicted = self.predicted(at);
            counts[label as usize].images += 1;
            counts[label as usize].right += u64::from(label == predicted);
            counts[predicted as usize].predicted += 1;
        }
        counts
    }

    fn auc(&self) -> Option<f64> {
        if self.classes > MAX_AUC_CLASSES {
            return None;
        }
        let areas: Vec<f64> =
            (0..self.classes as u32).filter_map(|class| self.auc_of(class)).collect();
        (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
    }

    /// The area under the ROC curve of a class against all others: the probability that an image of
    /// the class has a larger probability of it than an image of another class, where equals count
    /// half. `None` if there are no images of it, or no others.
    pub fn auc_of(&self, class: u32) -> Option<f64> {
        let own = |at: usize| (self.row(at)[class as usize], self.labels[at] == class);
        let mut images: Vec<(f32, bool)> = (0..self.len()).map(own).collect();
        images.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Counted in halves: integers, so that the order of sums does not matter.
        let (mut below, mut halves, mut of_class) = (0u64, 0u64, 0u64);
        for equals in images.chunk_by(|a, b| a.0 == b.0) {
            let positives = equals.iter().filter(|image| image.1).count() as u64;
            let negatives = equals.len() as u64 - positives;
            halves += positives * (2 * below + negatives);
            below += negatives;
            of_class += positives;
        }
        let pairs = of_class * below;
        (pairs > 0).then(|| halves as f64 / (2.0 * pairs as f64))
    }

    fn calibration(&self) -> Calibration {
        let mut bins = vec![ReliabilityBin::default(); BINS];
        for (at, &label) in self.labels.iter().enumerate() {
            let predicted = self.predicted(at);
            let confidence = f64::from(self.row(at)[predicted as usize]);
            let edge = |number: usize| number as f64 * (1.0 / BINS as f64);
            let bin = &mut bins[(1..BINS).filter(|&number| edge(number) < confidence).count()];
            bin.images += 1;
            bin.confidence += confidence;
            bin.accuracy += f64::from(u8::from(predicted == label));
        }
        let mut error = 0.0;
        for bin in bins.iter_mut().filter(|bin| bin.images > 0) {
            error += (bin.accuracy - bin.confidence).abs() / self.len() as f64;
            bin.confidence /= bin.images as f64;
            bin.accuracy /= bin.images as f64;
        }
        Calibration { error, bins }
    }
}

/// The weighted means of precision, recall and F1; zeros if there is no weight.
fn weighted<'a>(classes: impl Iterator<Item = (&'a ClassCounts, f64)>) -> PrecisionRecall {
    let (mut sum, mut total) = (PrecisionRecall::default(), 0.0);
    for (class, weight) in classes {
        let PrecisionRecall { precision, recall, f1 } = class.rates();
        sum.precision += weight * precision;
        sum.recall += weight * recall;
        sum.f1 += weight * f1;
        total += weight;
    }
    if total == 0.0 {
        return sum;
    }
    PrecisionRecall {
        precision: sum.precision / total,
        recall: sum.recall / total,
        f1: sum.f1 / total,
    }
}
