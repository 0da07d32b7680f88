//! Probabilities of every image of a test set, and what is computed from them: errors by class,
//! confusions, quality measures, averages of several networks.

mod quality;
mod search;

pub use quality::{BINS, Calibration, MAX_AUC_CLASSES, PrecisionRecall, Quality, ReliabilityBin};

use crate::evaluate::Tested;
use crate::metrics::{Score, Tally};

/// The probabilities of every image that could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// Each image's index in its source, ascending.
    pub samples: Vec<u32>,
    /// Each image's class.
    pub labels: Vec<u32>,
    /// Images x classes.
    pub probabilities: Vec<f32>,
}

/// A network's score on the images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassScore {
    /// Means over the class's images.
    pub score: Score,
    /// Number of images, of any class, predicted as this class.
    pub predicted: u64,
    /// Of these, the share that belongs to this class; its share of images predicted as it; the
    /// harmonic mean of both. 0 where there are none.
    pub rates: PrecisionRecall,
}

impl Predictions {
    /// No predictions yet, of a network with `classes` classes.
    pub fn new(classes: usize) -> Predictions {
        Predictions { classes, ..Predictions::default() }
    }

    /// Adds an image.
    pub fn push(&mut self, image: Tested) {
        self.samples.push(image.sample);
        self.labels.push(image.label);
        self.probabilities.extend(image.probabilities.iter().map(|&p| p as f32));
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The probabilities of image number `at`.
    ///
    /// # Panics
    /// If there is no such image, as the methods below.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.probabilities[at * self.classes..][..self.classes]
    }

    /// The `count` most probable classes of image number `at`, the best first; of equals the lower
    /// class first.
    pub fn top(&self, at: usize, count: usize) -> Vec<(u32, f32)> {
        top(self.row(at), count)
    }

    /// The most probable class of image number `at`; of equals the lower one.
    pub fn predicted(&self, at: usize) -> u32 {
        let row = self.row(at);
        let best = (1..row.len()).fold(0, |best, class| {
            if row[class].total_cmp(&row[best]).is_gt() { class } else { best }
        });
        best as u32
    }

    /// The loss and errors of image number `at`.
    pub fn tally_of(&self, at: usize) -> Tally {
        let row: Vec<f64> = self.row(at).iter().map(|&p| f64::from(p)).collect();
        Tally::of_probabilities(&row, self.labels[at] as usize)
    }

    /// Means over all images. Losses are computed from rounded probabilities; for probabilities
    /// near 1 they are less exact than those of [`evaluate`](crate::evaluate::evaluate).
    pub fn score(&self) -> Score {
        self.score_of(|_| true)
    }

    fn score_of(&self, which: impl Fn(usize) -> bool) -> Score {
        let mut total = Tally::default();
        (0..self.len()).filter(|&at| which(at)).for_each(|at| total.add(self.tally_of(at)));
        total.score_of(self.classes)
    }

    /// The confusion matrix, classes x classes: images of class `row` predicted as class `column`.
    pub fn confusion(&self) -> Vec<u32> {
        let mut counts = vec![0; self.classes * self.classes];
        for at in 0..self.len() {
            let (truth, predicted) = (self.labels[at] as usize, self.predicted(at) as usize);
            counts[truth * self.classes + predicted] += 1;
        }
        counts
    }

    /// The score of every class.
    pub fn by_class(&self) -> Vec<ClassScore> {
        let mut tallies = vec![Tally::default(); self.classes];
        (0..self.len()).for_each(|at| tallies[self.labels[at] as usize].add(self.tally_of(at)));
        let scores = tallies.iter().zip(self.counts()).map(|(tally, counts)| ClassScore {
            score: tally.score_of(self.classes),
            predicted: counts.predicted,
            rates: counts.rates(),
        });
        scores.collect()
    }

    /// Misclassified images, those with the lowest probability of their class first.
    pub fn worst(&self, count: usize) -> Vec<usize> {
        let own = |at: usize| self.row(at)[self.labels[at] as usize];
        let wrong = |&at: &usize| self.predicted(at) != self.labels[at];
        let mut wrong: Vec<usize> = (0..self.len()).filter(wrong).collect();
        wrong.sort_by(|&a, &b| own(a).total_cmp(&own(b)).then(a.cmp(&b)));
        wrong.truncate(count);
        wrong
    }

    /// The weighted mean of several networks' probabilities, as in the 2012 source's `avg-test.py`.
    ///
    /// # Errors
    /// A message if the networks were not tested on the same images and classes.
    ///
    /// # Panics
    /// If there is no network, or not one weight per network.
    pub fn average(all: &[Predictions], weights: &[f64]) -> Result<Predictions, String> {
        assert_eq!(all.len(), weights.len(), "a weight for each network");
        same_images(all)?;
        let first = &all[0];
        let total: f64 = weights.iter().sum();
        let mut probabilities = vec![0.0f32; first.probabilities.len()];
        for (at, sum) in probabilities.iter_mut().enumerate() {
            let terms = all.iter().zip(weights);
            *sum =
                terms.map(|(p, w)| f64::from(p.probabilities[at]) * w / total).sum::<f64>() as f32;
        }
        Ok(Predictions { probabilities, ..first.clone() })
    }

    /// The score over the images that [`search_weights`](Self::search_weights) did not use.
    pub fn score_of_rest(&self) -> Score {
        self.score_of(|at| at % 2 == 1)
    }
}

/// Checks that networks were tested on the same images and classes, in the same order.
fn same_images(all: &[Predictions]) -> Result<(), String> {
    let first = &all[0];
    for (number, other) in all.iter().enumerate().skip(1) {
        let same = other.classes == first.classes && other.labels == first.labels;
        if !same || other.samples != first.samples {
            return Err(format!(
                "network 1 was tested on {} images of {} classes, network {} on {} images of {}, \
                 or in another order",
                first.len(),
                first.classes,
                number + 1,
                other.len(),
                other.classes
            ));
        }
    }
    Ok(())
}

/// The `count` largest of a row of probabilities with their classes, the largest first; of equals
/// the lower class first.
pub fn top(row: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut order: Vec<u32> = (0..row.len() as u32).collect();
    let by_rank = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
    let count = count.min(order.len());
    if count > 0 && count < order.len() {
        order.select_nth_unstable_by(count - 1, by_rank);
    }
    order.truncate(count);
    order.sort_by(by_rank);
    order.into_iter().map(|class| (class, row[class as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(rows: &[(u32, [f64; 3])]) -> Predictions {
        let mut all = Predictions::new(3);
        for (sample, (label, probabilities)) in rows.iter().enumerate() {
            all.push(Tested { sample: sample as u32, label: *label, probabilities });
        }
        all
    }

    #[test]
    fn confusions_class_scores_and_mistakes_match_hand_counts() {
        let all = predictions(&[
            (0, [0.7, 0.2, 0.1]),
            (0, [0.1, 0.8, 0.1]),
            (1, [0.5, 0.3, 0.2]),
            (2, [0.1, 0.2, 0.7]),
        ]);
        assert_eq!(all.confusion(), [1, 1, 0, 1, 0, 0, 0, 0, 1]);
        let classes = all.by_class();
        assert_eq!((classes[0].score.top1_error, classes[0].rates.precision), (0.5, 0.5));
        assert_eq!((classes[1].score.top1_error, classes[1].predicted), (1.0, 1));
        assert_eq!(classes[2].score.images, 1);
        let means = PrecisionRecall { precision: 0.5, recall: 0.5, f1: 0.5 };
        assert_eq!((classes[0].rates, classes[1].rates), (means, PrecisionRecall::default()));
        assert_eq!(all.worst(9), [1, 2], "the least probability for the truth first");
        assert_eq!(all.top(2, 2).iter().map(|top| top.0).collect::<Vec<_>>(), [0, 1]);
        let expected = -(0.7f64.ln() + 0.1f64.ln() + 0.3f64.ln() + 0.7f64.ln()) / 4.0;
        assert!((all.score().loss - expected).abs() < 1e-6);
    }

    #[test]
    fn of_equals_the_lower_class_is_first() {
        let row = [0.2f32, 0.3, 0.3, 0.2];
        let classes = |count| top(&row, count).iter().map(|top| top.0).collect::<Vec<_>>();
        assert_eq!(classes(1), [1]);
        assert_eq!(classes(3), [1, 2, 0]);
        assert_eq!(classes(9), [1, 2, 0, 3]);
    }

    #[test]
    fn an_average_is_weighted_and_only_of_the_same_images() {
        let (a, b) = (predictions(&[(0, [1.0, 0.0, 0.0])]), predictions(&[(0, [0.0, 1.0, 0.0])]));
        let mean = Predictions::average(&[a.clone(), b], &[3.0, 1.0]).unwrap();
        assert_eq!(mean.row(0), [0.75, 0.25, 0.0]);
        let other = predictions(&[(1, [0.0, 1.0, 0.0])]);
        let error = Predictions::average(&[a, other], &[1.0, 1.0]).unwrap_err();
        assert!(error.contains("network 2 on 1 images"), "{error}");
    }

    #[test]
    fn a_search_reduces_the_weight_of_a_wrong_network() {
        // The second network is confident and wrong; with equal weights it decides.
        let labels = [0, 1, 2, 0, 1, 2];
        let row = |class: u32, p: f64| -> [f64; 3] {
            std::array::from_fn(|c| if c as u32 == class { p } else { (1.0 - p) / 2.0 })
        };
        let good: Vec<_> = labels.iter().map(|&l| (l, row(l, 0.6))).collect();
        let bad: Vec<_> = labels.iter().map(|&l| (l, row((l + 1) % 3, 0.9))).collect();
        let all = [predictions(&good), predictions(&bad)];
        let equal = Predictions::average(&all, &[1.0, 1.0]).unwrap();
        assert_eq!(equal.score().top1_error, 1.0);
        let weights = Predictions::search_weights(&all, &mut |_, _| ()).unwrap();
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && weights[0] > 0.6);
        let found = Predictions::average(&all, &weights).unwrap();
        assert_eq!((found.score().top1_error, found.score_of_rest().images), (0.0, 3));
    }
}
