//! Softmax and its loss by definition, in f64: the specification.

use super::IGNORED;
use ndarray::{Array2, ArrayView2};

/// Probabilities: exp(x) over the sum of the row's.
pub fn softmax(logits: ArrayView2<f64>) -> Array2<f64> {
    let mut p = logits.mapv(f64::exp);
    for mut row in p.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    p
}

/// The sum of `-log p[label]`, over images that count.
pub fn loss(logits: ArrayView2<f64>, labels: &[u32]) -> f64 {
    let p = softmax(logits);
    let counted = labels.iter().enumerate().filter(|(_, label)| **label != IGNORED);
    counted.map(|(n, &label)| -p[[n, label as usize]].ln()).sum()
}

/// The sum of `-t log p` over classes, and over images that count.
pub fn dense_loss(logits: ArrayView2<f64>, targets: ArrayView2<f64>, labels: &[u32]) -> f64 {
    let terms = softmax(logits).mapv(f64::ln) * targets;
    let rows = terms.rows().into_iter().zip(labels).filter(|(_, label)| **label != IGNORED);
    -rows.map(|(row, _)| row.sum()).sum::<f64>()
}

/// The gradient of [`dense_loss`] over the images that count.
pub fn dense_gradient(
    logits: ArrayView2<f64>,
    targets: ArrayView2<f64>,
    labels: &[u32],
) -> Array2<f64> {
    let counted = labels.iter().filter(|label| **label != IGNORED).count() as f64;
    let mut gradient = softmax(logits);
    let rows = gradient.rows_mut().into_iter().zip(targets.rows()).zip(labels);
    for ((mut row, target), &label) in rows {
        let sum = target.sum();
        row.zip_mut_with(&target, |p, t| *p = (*p * sum - t) / counted);
        if label == IGNORED {
            row.fill(0.0);
        }
    }
    gradient
}

/// The gradient of the mean loss.
pub fn gradient(logits: ArrayView2<f64>, labels: &[u32]) -> Array2<f64> {
    let counted = labels.iter().filter(|label| **label != IGNORED).count() as f64;
    let mut gradient = softmax(logits);
    for (mut row, &label) in gradient.rows_mut().into_iter().zip(labels) {
        if label == IGNORED {
            row.fill(0.0);
        } else {
            row[label as usize] -= 1.0;
            row /= counted;
        }
    }
    gradient
}

/// The sum of top-k errors. Of several classes with the label's score, each is first equally often.
pub fn errors(logits: ArrayView2<f64>, labels: &[u32], k: usize) -> f64 {
    let mut errors = 0.0;
    for (row, &label) in logits.rows().into_iter().zip(labels) {
        if label == IGNORED {
            continue;
        }
        let own = row[label as usize];
        let above = row.iter().filter(|&&x| x > own).count();
        let equal = row.iter().filter(|&&x| x == own).count();
        // The share of all orders of equal scores in which the label is among the first k.
        let correct = (above..above + equal).filter(|&position| position < k).count();
        errors += 1.0 - correct as f64 / equal as f64;
    }
    errors
}
