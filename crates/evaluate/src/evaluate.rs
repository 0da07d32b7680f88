//! Testing: on centre crops, or on ten views whose softmax outputs are averaged (section 4.1 of the
//! paper), or on nine (the 2012 source's test for CIFAR).

use crate::metrics::Tally;
use crate::observe::Observer;
use crate::stop::Stop;
use data::{Batch, IGNORED, LoadedBatch, Loader};

/// A network that can be tested, on one device or several.
pub trait Evaluate {
    /// The error type.
    type Error: From<data::Error>;

    /// The shape of its batches.
    fn batch_shape(&self) -> BatchShape;

    /// Classifies a batch without training. Leaves the batch unchanged.
    ///
    /// # Errors
    /// If a device fails.
    fn test(&mut self, batch: &mut Batch) -> Result<Tally, Self::Error>;

    /// Copies the probabilities of the last tested batch, row by row, as many as fit.
    ///
    /// # Errors
    /// If a device fails.
    fn probabilities(&mut self, into: &mut [f32]) -> Result<(), Self::Error>;
}

/// The batches that a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Number of images.
    pub images: usize,
    /// Number of classes.
    pub classes: usize,
    /// `(index, count)`: this process loads part `index` of `count` equal parts of every batch.
    pub part: (usize, usize),
}

/// Validates on all images of `loader`, which must be made for testing; reports progress to
/// `observer`. `None` if a stop was requested before the end.
///
/// # Errors
/// If the data cannot be read or the device fails.
pub fn evaluate<E: From<data::Error>>(
    network: &mut dyn Evaluate<Error = E>,
    loader: &mut Loader,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Option<Tally>, E> {
    let views = views_of(loader);
    let BatchShape { images, classes, .. } = network.batch_shape();
    let mut room = vec![0.0; if views > 1 { images * classes } else { 0 }];
    run(network, loader, stop, "validation", observer, &mut |network, batch, tally| {
        if views == 1 {
            return Ok(tally);
        }
        network.probabilities(&mut room)?;
        Ok(averaged(&room, batch, views, classes, &mut |_| ()))
    })
}

/// A tested image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tested<'a> {
    /// Its index in the source.
    pub sample: u32,
    /// Its class.
    pub label: u32,
    /// The probability of each class, averaged over its views.
    pub probabilities: &'a [f64],
}

/// As [`evaluate`], and calls `each` with every image that could be read, in the source's order.
///
/// # Errors
/// If the data cannot be read or the device fails.
pub fn evaluate_each<E: From<data::Error>>(
    network: &mut dyn Evaluate<Error = E>,
    loader: &mut Loader,
    stop: &Stop,
    observer: &mut dyn Observer,
    each: &mut dyn FnMut(Tested),
) -> Result<Option<Tally>, E> {
    let BatchShape { images, classes, .. } = network.batch_shape();
    let mut room = vec![0.0; images * classes];
    let views = views_of(loader);
    run(network, loader, stop, "test", observer, &mut |network, batch, tally| {
        network.probabilities(&mut room)?;
        let from_views = averaged(&room, batch, views, classes, each);
        // With one view the kernel's loss is more exact than the loss of rounded probabilities.
        Ok(if views == 1 { tally } else { from_views })
    })
}

fn views_of(loader: &Loader) -> usize {
    loader.plan().views_per_image()
}

type Count<'a, E> = dyn FnMut(&mut dyn Evaluate<Error = E>, &Batch, Tally) -> Result<Tally, E> + 'a;

fn run<E: From<data::Error>>(
    network: &mut dyn Evaluate<Error = E>,
    loader: &mut Loader,
    stop: &Stop,
    what: &str,
    observer: &mut dyn Observer,
    count: &mut Count<E>,
) -> Result<Option<Tally>, E> {
    let images = loader.source().len() as u64;
    let mut total = Tally::default();
    let mut batches = 0;
    loader.start_at(0, 0);
    while let Some(mut batch) = next_batch(loader, observer, stop)? {
        if stop.requested().is_some() {
            return Ok(None);
        }
        let tally = network.test(&mut batch)?;
        total.add(count(network, &batch, tally)?);
        batches += 1;
        observer.progress(what, total.images as u64, images);
    }
    // A stop requested while waiting for a batch also ends the loop early.
    Ok((batches == loader.batches_per_epoch()).then_some(total))
}

/// Waits for the next batch; slow reads are reported to `observer`. `None` after the last batch or
/// once a stop is requested.
pub fn next_batch(
    loader: &mut Loader,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Option<LoadedBatch>, data::Error> {
    loader.next_batch_watched(&mut |stalled| {
        stalled.into_iter().for_each(|stalled| observer.stalled(stalled));
        stop.requested().is_none()
    })
}

/// The tally of images, each from the mean of its `count` rows of probabilities.
fn averaged(
    probabilities: &[f32],
    batch: &Batch,
    count: usize,
    classes: usize,
    each: &mut dyn FnMut(Tested),
) -> Tally {
    let mut total = Tally::default();
    let mut mean = vec![0.0; classes];
    let rows = batch.labels.chunks_exact(count).zip(batch.samples.chunks_exact(count));
    let views = probabilities.chunks_exact(count * classes).zip(rows);
    for (views, (labels, samples)) in views.filter(|(_, (labels, _))| labels[0] != IGNORED) {
        mean.fill(0.0);
        for view in views.chunks_exact(classes) {
            let terms = mean.iter_mut().zip(view);
            terms.for_each(|(mean, &p)| *mean += f64::from(p) / count as f64);
        }
        total.add(Tally::of_probabilities(&mean, labels[0] as usize));
        each(Tested { sample: samples[0], label: labels[0], probabilities: &mean });
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_ten_views_are_averaged() {
        let mut probabilities = Vec::new();
        // Nine views slightly prefer class 1, one is sure of class 0: the mean prefers class 0.
        (0..9).for_each(|_| probabilities.extend([0.48f32, 0.52]));
        probabilities.extend([1.0f32, 0.0]);
        probabilities.extend([0.5f32; 20]); // padding
        let labels = [[0; 10], [IGNORED; 10]].concat();
        let samples = [[7; 10], [IGNORED; 10]].concat();
        let batch = Batch { labels, samples, ..Batch::default() };
        let mut seen = Vec::new();
        let mut each = |image: Tested| seen.push((image.sample, image.probabilities.to_vec()));
        let tally = averaged(&probabilities, &batch, 10, 2, &mut each);
        assert_eq!((seen.len(), seen[0].0), (1, 7));
        assert!((seen[0].1[0] - 0.532).abs() < 1e-6, "{seen:?}");
        assert_eq!((tally.images, tally.top1_errors), (1.0, 0.0));
        assert!((tally.loss + 0.532f64.ln()).abs() < 1e-6, "{}", tally.loss);
    }
}
