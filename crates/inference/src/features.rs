//! Outputs of a layer for all images of a data set.

mod writer;

pub use writer::{VectorFormat, Writer};

use crate::predictor::Predictor;
use crate::{Error, Result};
use data::{IGNORED, Loader};
use evaluate::Stop;
use layers::Spec;

/// The planned row of the layer called `name`, by default of the last before the classifier.
///
/// # Errors
/// [`Error::Layer`], [`Error::NoHiddenLayer`].
pub fn layer(predictor: &Predictor, spec: &Spec, name: Option<&str>) -> Result<usize> {
    match name {
        Some(name) => Ok(predictor.find_layer(spec, name)?),
        None => predictor
            .last_hidden_layer()
            .ok_or_else(|| Error::NoHiddenLayer { network: spec.name.clone() }),
    }
}

/// Calls `each` with every image's output of a row, in the source's order; `None` for an image that
/// could not be read. `watch` receives the numbers of images done and in total. Returns `false` if
/// a stop was requested before the end.
///
/// # Errors
/// If the data cannot be read or the device fails.
pub fn walk(
    predictor: &mut Predictor,
    loader: &mut Loader,
    row: usize,
    stop: &Stop,
    watch: &mut dyn FnMut(u64, u64),
    each: &mut dyn FnMut(usize, Option<&[f32]>),
) -> Result<bool> {
    let (length, total) = (predictor.layer(row).1.iter().product(), loader.source().len() as u64);
    let mut done = 0;
    loader.start_at(0, 0);
    while let Some(batch) = loader.next_batch()? {
        if stop.requested().is_some() {
            return Ok(false);
        }
        predictor.activations(&batch, &[row], &mut |_, outputs| {
            let samples = batch.samples.iter().zip(&batch.labels).take(batch.images);
            for (vector, (&sample, &label)) in outputs.chunks_exact(length).zip(samples) {
                each(sample as usize, (label != IGNORED).then_some(vector));
            }
        })?;
        done += batch.images as u64;
        watch(done, total);
    }
    Ok(true)
}
