//! Testing: centre crops, or ten views whose softmax outputs are averaged (section 4.1 of the
//! paper), or nine (the 2012 source's way with CIFAR).

use crate::metrics::Tally;
use crate::step::Step;
use crate::{Result, Stop};
use data::{IGNORED, Loader};

/// Tests on everything that `loader`, made for testing, has to give; `watch` hears of images done
/// and of how many. `None` if a stop was asked for before the end.
///
/// # Errors
/// If the data cannot be read or the device fails.
pub fn evaluate(
    step: &mut Step,
    loader: &mut Loader,
    stop: &Stop,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Option<Tally>> {
    let views = loader.plan().views_per_image();
    let images = loader.source().len() as u64;
    let mut probabilities = vec![0.0; if views > 1 { step.images() * step.classes() } else { 0 }];
    let mut total = Tally::default();
    loader.start_at(0, 0);
    while let Some(batch) = loader.next_batch()? {
        if stop.requested().is_some() {
            return Ok(None);
        }
        let tally = step.test(&batch)?;
        if views > 1 {
            step.probabilities(&mut probabilities)?;
            let classes = step.classes();
            total.add(averaged(&probabilities, &batch.labels, views, classes));
        } else {
            total.add(tally);
        }
        watch(total.images as u64, images);
    }
    Ok(Some(total))
}

/// The tally of whole images, each from the mean of its `count` rows of probabilities.
fn averaged(probabilities: &[f32], labels: &[u32], count: usize, classes: usize) -> Tally {
    let mut total = Tally::default();
    let mut mean = vec![0.0; classes];
    let views = probabilities.chunks_exact(count * classes).zip(labels.chunks_exact(count));
    for (views, labels) in views.filter(|(_, labels)| labels[0] != IGNORED) {
        mean.fill(0.0);
        for view in views.chunks_exact(classes) {
            let terms = mean.iter_mut().zip(view);
            terms.for_each(|(mean, &p)| *mean += f64::from(p) / count as f64);
        }
        total.add(Tally::of_probabilities(&mean, labels[0] as usize));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_views_vote_with_their_probabilities() {
        let mut probabilities = Vec::new();
        // Nine views slightly prefer class 1, one is sure of class 0: the mean prefers class 0.
        (0..9).for_each(|_| probabilities.extend([0.48f32, 0.52]));
        probabilities.extend([1.0f32, 0.0]);
        probabilities.extend([0.5f32; 20]); // padding
        let mut labels = vec![0; 10];
        labels.extend([IGNORED; 10]);
        let tally = averaged(&probabilities, &labels, 10, 2);
        assert_eq!((tally.images, tally.top1_errors), (1.0, 0.0));
        assert!((tally.loss + 0.532f64.ln()).abs() < 1e-6, "{}", tally.loss);
    }
}
