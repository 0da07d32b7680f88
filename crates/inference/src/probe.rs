//! Linear probes (Alain and Bengio 2016): a linear classifier on a layer's features measures how
//! easily classes can be read from them.
//!
//! Features are standardised by the training images' mean and deviation. The classifier is softmax
//! regression, trained by SGD with momentum in batches of 32 for 20 epochs, with weight decay and a
//! rate that falls linearly to zero. Everything is in a fixed order: results are bit-identical on
//! any machine.

/// Passes over the training images.
const EPOCHS: usize = 20;
const BATCH: usize = 32;
const RATE: f32 = 0.02;
const MOMENTUM: f32 = 0.9;
const DECAY: f32 = 1e-3;

/// Features of images, row by row, with their classes.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    /// Values of an image.
    pub width: usize,
    /// images x width values.
    pub values: Vec<f32>,
    /// A class for each image.
    pub labels: Vec<u32>,
}

/// A map of `[height, width, channels]` values, averaged over a grid of at most `most` values; as
/// PyTorch's `adaptive_avg_pool2d`. A vector stays as it is.
pub fn pooled(values: &[f32], shape: &[usize], most: usize) -> Vec<f32> {
    let &[height, width, channels] = shape else { return values.to_vec() };
    let side = ((most / channels.max(1)) as f64).sqrt() as usize;
    let (down, across) = (side.clamp(1, height), side.clamp(1, width));
    let range =
        |at: usize, of: usize, extent: usize| (at * extent / of, ((at + 1) * extent).div_ceil(of));
    let mut pooled = Vec::with_capacity(down * across * channels);
    for row in 0..down {
        let (top, bottom) = range(row, down, height);
        for column in 0..across {
            let (left, right) = range(column, across, width);
            let count = ((bottom - top) * (right - left)) as f32;
            for channel in 0..channels {
                let of_row = |y: usize| {
                    (left..right).map(move |x| values[(y * width + x) * channels + channel])
                };
                pooled.push((top..bottom).flat_map(of_row).sum::<f32>() / count);
            }
        }
    }
    pooled
}

/// The share of test images that a linear classifier of the training images' features gets wrong.
///
/// # Panics
/// If there are no images, numbers do not match, or a class is not below `classes`.
pub fn error_of(train: &Labelled, test: &Labelled, classes: usize) -> f64 {
    let width = train.width;
    assert!(!train.labels.is_empty() && !test.labels.is_empty(), "no images");
    for set in [train, test] {
        assert_eq!((set.width, set.values.len()), (width, width * set.labels.len()));
        assert!(set.labels.iter().all(|&label| (label as usize) < classes), "an unknown class");
    }
    let scaling = Scaling::of(train);
    let (train_values, test_values) = (scaling.apply(&train.values), scaling.apply(&test.values));
    let mut classifier = Classifier::new(width, classes);
    classifier.fit(&train_values, &train.labels);
    let rows = test_values.chunks_exact(width).zip(&test.labels);
    let wrong = rows.filter(|(row, label)| classifier.class_of(row) != **label as usize).count();
    wrong as f64 / test.labels.len() as f64
}

/// Mean and deviation of each feature.
struct Scaling {
    means: Vec<f32>,
    factors: Vec<f32>,
}

impl Scaling {
    fn of(set: &Labelled) -> Scaling {
        let count = set.labels.len() as f64;
        let mut sums = vec![(0.0f64, 0.0f64); set.width];
        for row in set.values.chunks_exact(set.width) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum = (sum.0 + f64::from(value), sum.1 + f64::from(value).powi(2));
            }
        }
        let means = sums.iter().map(|(sum, _)| (sum / count) as f32).collect();
        let factor = |(sum, squares): &(f64, f64)| {
            let variance = squares / count - (sum / count).powi(2);
            if variance > 1e-12 { variance.sqrt().recip() as f32 } else { 0.0 }
        };
        Scaling { means, factors: sums.iter().map(factor).collect() }
    }

    fn apply(&self, values: &[f32]) -> Vec<f32> {
        let scaled = values.chunks_exact(self.means.len()).flat_map(|row| {
            let parts = row.iter().zip(&self.means).zip(&self.factors);
            parts.map(|((value, mean), factor)| (value - mean) * factor)
        });
        scaled.collect()
    }
}

/// Softmax regression: a row of weights and a bias for each class.
struct Classifier {
    width: usize,
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Classifier {
    fn new(width: usize, classes: usize) -> Classifier {
        Classifier { width, weights: vec![0.0; classes * width], biases: vec![0.0; classes] }
    }

    fn scores(&self, row: &[f32]) -> Vec<f32> {
        let weights = self.weights.chunks_exact(self.width).zip(&self.biases);
        let score = |(w, b): (&[f32], &f32)| w.iter().zip(row).map(|(w, x)| w * x).sum::<f32>() + b;
        weights.map(score).collect()
    }

    fn class_of(&self, row: &[f32]) -> usize {
        let scores = self.scores(row);
        (1..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best })
    }

    /// Trains on all rows. Each epoch visits them in steps of a number that is coprime to their
    /// count, so that neighbouring rows, which may have one class, fall into different batches.
    fn fit(&mut self, values: &[f32], labels: &[u32]) {
        let count = labels.len();
        let stride = (count * 5 / 8..).find(|&stride| is_coprime(stride, count)).unwrap_or(1);
        let batches = count.div_ceil(BATCH);
        let mut velocities = vec![0.0f32; self.weights.len() + self.biases.len()];
        for step in 0..EPOCHS * batches {
            let rate = RATE * (1.0 - step as f32 / (EPOCHS * batches) as f32);
            let first = step % batches * BATCH;
            let rows = first..count.min(first + BATCH);
            let size = rows.len() as f32;
            let mut gradients = vec![0.0f32; velocities.len()];
            for at in rows {
                let image = at * stride % count;
                let row = &values[image * self.width..][..self.width];
                self.add_gradient(row, labels[image] as usize, &mut gradients);
            }
            let split = self.weights.len();
            let parameters = self.weights.iter_mut().chain(&mut self.biases);
            for (at, (parameter, gradient)) in parameters.zip(&gradients).enumerate() {
                let decay = if at < split { DECAY * *parameter } else { 0.0 };
                let velocity = &mut velocities[at];
                *velocity = MOMENTUM * *velocity - rate * (gradient / size + decay);
                *parameter += *velocity;
            }
        }
    }

    fn add_gradient(&self, row: &[f32], label: usize, gradients: &mut [f32]) {
        let scores = self.scores(row);
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f32 = powers.iter().sum();
        let (weights, biases) = gradients.split_at_mut(self.weights.len());
        for (class, power) in powers.iter().enumerate() {
            let slope = power / sum - if class == label { 1.0 } else { 0.0 };
            let of_class = &mut weights[class * self.width..][..self.width];
            of_class.iter_mut().zip(row).for_each(|(gradient, x)| *gradient += slope * x);
            biases[class] += slope;
        }
    }
}

fn is_coprime(mut a: usize, mut b: usize) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes around three points, in the order of the classes; with features that say
    /// nothing.
    fn points(count: usize, noise: f32) -> Labelled {
        let mut set = Labelled { width: 4, ..Labelled::default() };
        for at in 0..count {
            let label = at * 3 / count;
            let angle = label as f32 * 2.1;
            let wobble = |salt: usize| ((at * 7919 + salt * 104_729) % 1000) as f32 / 500.0 - 1.0;
            let values = [angle.cos() + noise * wobble(1), angle.sin() + noise * wobble(2)];
            set.values.extend([values[0] * 100.0, values[1] * 0.01, wobble(3), 5.0]);
            set.labels.push(label as u32);
        }
        set
    }

    #[test]
    fn separable_classes_are_separated_at_any_scale() {
        assert_eq!(error_of(&points(90, 0.2), &points(60, 0.2), 3), 0.0);
        let noisy = error_of(&points(300, 2.5), &points(150, 2.5), 3);
        assert!(noisy > 0.1 && noisy < 0.6, "{noisy}");
    }

    #[test]
    fn features_that_say_nothing_are_at_chance() {
        let blind = |mut set: Labelled| {
            set.values.iter_mut().for_each(|value| *value = 1.0);
            set
        };
        let error = error_of(&blind(points(90, 0.2)), &blind(points(90, 0.2)), 3);
        assert!((error - 2.0 / 3.0).abs() < 1e-9, "{error}");
    }

    #[test]
    fn maps_are_averaged_over_a_grid() {
        // Two channels of 3 x 2 pixels: 1 to 6, and their tenfold.
        let map: Vec<f32> = (1..=6).flat_map(|at| [at as f32, 10.0 * at as f32]).collect();
        assert_eq!(pooled(&map, &[3, 2, 2], 2), [3.5, 35.0]);
        // As adaptive_avg_pool2d: rows 0..2 and 1..3.
        assert_eq!(pooled(&map, &[3, 2, 2], 8), [2.0, 20.0, 3.0, 30.0, 4.0, 40.0, 5.0, 50.0]);
        assert_eq!(pooled(&map, &[3, 2, 2], 1000), map);
        assert_eq!(pooled(&[1.0, 2.0], &[2], 1), [1.0, 2.0]);
    }
}
