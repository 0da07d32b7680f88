//! Losses and errors: sums over images, and their means.

use serde::{Deserialize, Serialize};

/// Number of most probable classes of the top-5 error.
const TOP: usize = 5;

/// Whether the top-5 error says anything of so many classes: of five or fewer it is always 0, so it
/// is neither computed nor shown.
pub fn has_top5(classes: usize) -> bool {
    classes > TOP
}

/// Sums over images. Classes with equal probability share the credit, as in the 2012 source, so
/// that a network with constant output is right as often as chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Sum of -log p(label).
    pub loss: f64,
    /// Images whose label is not the most probable class.
    pub top1_errors: f64,
    /// Images whose label is not among the five most probable classes.
    pub top5_errors: f64,
    /// Number of images.
    pub images: f64,
}

impl Tally {
    /// Converts the tally of `kernels::softmax_loss`.
    pub fn from_kernel([loss, top1, top5, images]: [f32; 4]) -> Tally {
        let [loss, top1_errors, top5_errors, images] = [loss, top1, top5, images].map(f64::from);
        Tally { loss, top1_errors, top5_errors, images }
    }

    /// The tally of one image, from the probabilities of the classes.
    pub fn of_probabilities(probabilities: &[f64], label: usize) -> Tally {
        let own = probabilities[label];
        let above = probabilities.iter().filter(|&&other| other > own).count();
        let equal = probabilities.iter().filter(|&&other| other == own).count();
        let credit = |places: usize| match places.checked_sub(above) {
            Some(free) => (free as f64 / equal as f64).min(1.0),
            None => 0.0,
        };
        Tally {
            loss: -own.max(f64::MIN_POSITIVE).ln(),
            top1_errors: 1.0 - credit(1),
            top5_errors: 1.0 - credit(TOP),
            images: 1.0,
        }
    }

    /// As [`from_kernel`](Self::from_kernel) takes it.
    pub fn to_kernel(self) -> [f32; 4] {
        [self.loss, self.top1_errors, self.top5_errors, self.images].map(|sum| sum as f32)
    }

    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.loss += other.loss;
        self.top1_errors += other.top1_errors;
        self.top5_errors += other.top5_errors;
        self.images += other.images;
    }

    /// The means over all images without the top-5 error; zeros if there are no images.
    pub fn score(&self) -> Score {
        Score {
            loss: self.mean(self.loss),
            top1_error: self.mean(self.top1_errors),
            top5_error: None,
            images: self.images as u64,
        }
    }

    /// As [`score`](Self::score), with the top-5 error if [`has_top5`] of the number of classes.
    pub fn score_of(&self, classes: usize) -> Score {
        let top5_error = has_top5(classes).then(|| self.mean(self.top5_errors));
        Score { top5_error, ..self.score() }
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.images > 0.0 { sum / self.images } else { 0.0 }
    }
}

/// Means over images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean of -log p(label).
    pub loss: f64,
    /// Share of images whose label is not the most probable class.
    pub top1_error: f64,
    /// Share of images whose label is not among the five most probable classes; `None` if there
    /// are at most five classes, or it was not measured.
    pub top5_error: Option<f64>,
    /// Number of images.
    pub images: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_credit() {
        let even = [0.1; 10];
        let tally = Tally::of_probabilities(&even, 3);
        assert!((tally.top1_errors - 0.9).abs() < 1e-12);
        assert!((tally.top5_errors - 0.5).abs() < 1e-12);
        assert!((tally.loss - 10f64.ln()).abs() < 1e-12);
        // One class is above; two tie with the label for second place: no top-1 credit, full top-5.
        let tally = Tally::of_probabilities(&[0.4, 0.2, 0.2, 0.2], 2);
        assert_eq!((tally.top1_errors, tally.top5_errors), (1.0, 0.0));
        // Four classes are above; two share the fifth place.
        let tally = Tally::of_probabilities(&[0.2, 0.2, 0.2, 0.2, 0.1, 0.1], 5);
        assert_eq!((tally.top1_errors, tally.top5_errors), (1.0, 0.5));
    }

    #[test]
    fn every_image_has_the_same_weight_in_means() {
        let mut tally = Tally::from_kernel([4.0, 1.0, 0.0, 4.0]);
        tally.add(Tally::from_kernel([0.5, 1.0, 1.0, 1.0]));
        let score = tally.score_of(6);
        assert_eq!((score.loss, score.top1_error, score.top5_error), (0.9, 0.4, Some(0.2)));
        assert_eq!(score.images, 5);
        assert_eq!(tally.score_of(5), Score { top5_error: None, ..score });
        assert_eq!(tally.score(), tally.score_of(5));
        assert_eq!(Tally::default().score(), Score::default());
    }
}
