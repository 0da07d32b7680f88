//! The 2012 source's search for the weights of an ensemble, on reduced data.
//!
//! A trial of weights counts, for every image, the classes whose averaged probability is above or
//! equal to the true class's. The weights sum to one, so an average is between the smallest and the
//! largest of the networks' probabilities: a class whose largest probability is below the true
//! class's smallest is below it in every trial. This excludes all but a few of a thousand classes
//! before the first trial.

use super::{Predictions, same_images};
use crate::metrics::{Tally, has_top5};

/// How far a weight is moved.
const STEP: f64 = 0.05;
/// Maximum number of rounds over all weights.
const ROUNDS: usize = 10;

/// One image, with the classes that matter.
struct Candidates {
    /// The index of the true class among them.
    label: usize,
    /// Number of classes that matter.
    classes: usize,
    /// Offset of their probabilities in [`Reduced::probabilities`]: networks x classes.
    start: usize,
}

/// For every other image, the classes that some weights may rank above the true one.
struct Reduced {
    networks: usize,
    /// Number of all classes.
    classes: usize,
    images: Vec<Candidates>,
    probabilities: Vec<f32>,
}

impl Reduced {
    /// Averages have a relative rounding error of 1e-7: classes within this margin are kept.
    const MARGIN: f32 = 1.0 - 1e-5;
    /// Near denormal values the error is larger: below this all classes are kept.
    const LEAST: f32 = 1e-30;

    fn new(all: &[Predictions]) -> Reduced {
        let (networks, classes) = (all.len(), all[0].classes);
        let (images, probabilities) = (Vec::new(), Vec::new());
        let mut table = Reduced { networks, classes, images, probabilities };
        let mut largest = vec![0.0f32; classes];
        let mut left = Vec::new();
        for at in (0..all[0].len()).step_by(2) {
            let label = all[0].labels[at] as usize;
            let own = all.iter().map(|network| network.row(at)[label]);
            let own = own.fold(f32::INFINITY, f32::min);
            let enough = if own > Reduced::LEAST { own * Reduced::MARGIN } else { 0.0 };
            largest.fill(0.0);
            for network in all {
                let pairs = largest.iter_mut().zip(network.row(at));
                pairs.for_each(|(largest, &p)| *largest = largest.max(p));
            }
            left.clear();
            // Comparisons with NaN are false: a NaN class is never above or equal.
            left.extend((0..largest.len()).filter(|&c| c == label || largest[c] >= enough));
            let start = table.probabilities.len();
            for network in all {
                let row = network.row(at);
                table.probabilities.extend(left.iter().map(|&class| row[class]));
            }
            let label = left.binary_search(&label).expect("the true class is kept");
            table.images.push(Candidates { label, classes: left.len(), start });
        }
        table
    }

    /// Top-5 error (0 with at most five classes), top-1 error and loss, bit-identical to the score
    /// of [`Predictions::average`], as sums have the same order.
    fn judge(&self, weights: &[f64], room: &mut Vec<f64>) -> [f64; 3] {
        let total: f64 = weights.iter().sum();
        let mut tally = Tally::default();
        for image in &self.images {
            room.clear();
            room.resize(image.classes, 0.0);
            let rows = &self.probabilities[image.start..][..self.networks * image.classes];
            for (row, weight) in rows.chunks_exact(image.classes).zip(weights) {
                let terms = room.iter_mut().zip(row);
                terms.for_each(|(sum, &p)| *sum += f64::from(p) * weight / total);
            }
            room.iter_mut().for_each(|sum| *sum = f64::from(*sum as f32));
            tally.add(Tally::of_probabilities(room, image.label));
        }
        let score = tally.score_of(self.classes);
        [score.top5_error.unwrap_or(0.0), score.top1_error, score.loss]
    }
}

impl Predictions {
    /// Searches weights for [`average`](Self::average) that minimise top-5 error, then top-1 error,
    /// then loss: starting from equal weights, one weight after the other is moved by 0.05 as long
    /// as the score improves, as in the 2012 source's `avg-valid.py`.
    ///
    /// Only images at even indices are used, so that those at odd indices can test the result.
    /// After each trial `watch` receives the number of trials and the lowest top-5 error so far,
    /// or the lowest top-1 error if there are at most five classes.
    ///
    /// # Errors
    /// As [`average`](Self::average).
    pub fn search_weights(
        all: &[Predictions],
        watch: &mut dyn FnMut(u32, f64),
    ) -> Result<Vec<f64>, String> {
        same_images(all)?;
        let (table, mut room) = (Reduced::new(all), Vec::new());
        let (mut trials, mut least) = (0, f64::INFINITY);
        let watched = usize::from(!has_top5(table.classes));
        Ok(search(all.len(), &mut |weights| {
            let score = table.judge(weights, &mut room);
            (trials, least) = (trials + 1, least.min(score[watched]));
            watch(trials, least);
            score
        }))
    }
}

/// The search; scores of `judge` are compared lexicographically, lower is better.
fn search(networks: usize, judge: &mut dyn FnMut(&[f64]) -> [f64; 3]) -> Vec<f64> {
    let mut weights = vec![1.0; networks];
    let mut best = judge(&weights);
    for _ in 0..ROUNDS {
        let before = best;
        for at in 0..weights.len() {
            for change in [STEP, -STEP] {
                loop {
                    let mut tried = weights.clone();
                    tried[at] = (tried[at] + change).max(0.0);
                    if tried == weights || tried.iter().sum::<f64>() < STEP {
                        break;
                    }
                    let score = judge(&tried);
                    if score >= best {
                        break;
                    }
                    (weights, best) = (tried, score);
                }
            }
        }
        if best >= before {
            break;
        }
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Tested;
    use random::{Purpose, Stream};

    /// `count` networks of different accuracy on images of `classes` classes; some probabilities
    /// tie, some are zero, some are nearly zero.
    fn networks(seed: u64, count: usize, images: u32, classes: usize) -> Vec<Predictions> {
        let network = |number: usize| {
            let mut predictions = Predictions::new(classes);
            for sample in 0..images {
                let mut truth = Stream::new(seed, Purpose::Test, 0, sample);
                let label = truth.below(classes as u32);
                let mut draws = Stream::new(seed, Purpose::Test, 1 + number as u32, sample);
                let mut unit = || f64::from(draws.next()) / f64::from(u32::MAX);
                let skill = 12.0 * unit() * (1 + number) as f64 / count as f64;
                let sharp = 4.0 * unit();
                let mut row: Vec<f64> = (0..classes).map(|_| (sharp * unit()).exp()).collect();
                row[label as usize] *= skill.exp();
                match sample % 7 {
                    0 => row.iter_mut().for_each(|p| *p = p.round()), // ties
                    1 => row.iter_mut().skip(1).step_by(2).for_each(|p| *p = 0.0),
                    2 => row.iter_mut().for_each(|p| *p *= 1e-40), // all but one
                    _ => {}
                }
                row[0] += f64::from(u8::from(sample % 7 == 2));
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|p| *p /= sum);
                predictions.push(Tested { sample, label, probabilities: &row });
            }
            predictions
        };
        (0..count).map(network).collect()
    }

    /// A trial without reduction: averages all classes, scores every other image.
    fn judge_unreduced(all: &[Predictions], weights: &[f64]) -> [f64; 3] {
        let score = Predictions::average(all, weights).unwrap().score_of(|at| at % 2 == 0);
        [score.top5_error.unwrap_or(0.0), score.top1_error, score.loss]
    }

    #[test]
    fn the_reduction_does_not_change_scores() {
        for (seed, count, images, classes) in
            [(1, 2, 301, 3), (2, 3, 200, 10), (3, 5, 150, 40), (4, 2, 57, 200), (5, 1, 20, 7)]
        {
            let all = networks(seed, count, images, classes);
            let (table, mut room, mut trials) = (Reduced::new(&all), Vec::new(), 0u32);
            let found = search(count, &mut |weights| {
                trials += 1;
                let [quick, plain] =
                    [table.judge(weights, &mut room), judge_unreduced(&all, weights)];
                assert_eq!(quick.map(f64::to_bits), plain.map(f64::to_bits), "{weights:?}");
                plain
            });
            let mut watched = (0, 1.0);
            let mut watch = |number, least| watched = (number, least);
            assert_eq!(Predictions::search_weights(&all, &mut watch).unwrap(), found);
            assert_eq!(watched.0, trials);
            assert!(trials > count as u32 && watched.1 < 1.0, "{watched:?}");
            let kept: usize = table.images.iter().map(|image| image.classes).sum();
            let all = table.images.len() * classes;
            assert!(classes < 40 || kept < all * 3 / 4, "{kept} of {all} are left");
        }
    }
}
