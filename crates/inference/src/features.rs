//! Outputs of layers for all images of a data set.
//!
//! A layer's name means its own output: `conv5` is the convolution before its ReLU, `relu5` after
//! it. [`Model::predictor_for_layers`] opens the network with these outputs, [`walk`] computes them
//! image by image, and a [`Writer`] writes them.

mod arrays;
mod contents;
mod writer;

pub use contents::{Contents, Layout, VectorFormat};
pub use writer::Writer;

use crate::device::{self, Placement};
use crate::model::Model;
use crate::predictor::{InferencePlan, NoSuchLayer, Predictor};
use crate::{Error, Result};
use data::{IGNORED, Loader};
use evaluate::Stop;
use layers::Spec;
use tensor::Device;

impl Model {
    /// As [`predictor`](Self::predictor), with the outputs of `layers`, by their names in
    /// [`Spec::describe`]; only of these are rows kept apart that are otherwise computed in one.
    ///
    /// # Errors
    /// As [`predictor`](Self::predictor); [`Error::Layer`] if there is no such layer.
    pub fn predictor_for_layers(
        &self,
        rows: usize,
        placement: Placement,
        layers: &[&str],
        log: &mut dyn FnMut(&str),
    ) -> Result<Predictor> {
        let about = &self.weights.about;
        let mean = (about.input.mean, [self.side(); 2]);
        let plan = |device: &Device| {
            InferencePlan::with_outputs(&about.model, rows, mean, layers, device.target())
        };
        let (device, plan) = device::open(placement, plan, InferencePlan::check, log)?;
        plan.open(device, &self.weights, &self.path)
    }
}

/// The planned row with the output of the layer called `name`; by default of the last layer before
/// the classifier, after its activation.
///
/// # Errors
/// [`Error::Layer`], [`Error::NotKept`], [`Error::NoHiddenLayer`].
pub fn layer(predictor: &Predictor, spec: &Spec, name: Option<&str>) -> Result<usize> {
    let Some(name) = name else {
        let last = predictor.last_hidden_layer();
        return last.ok_or_else(|| Error::NoHiddenLayer { network: spec.name.clone() });
    };
    NoSuchLayer::check(spec, name)?;
    predictor.find_layer(name).ok_or_else(|| Error::NotKept { layer: name.to_string() })
}

/// An image's outputs of several rows; `None` if the image could not be read.
pub type ImageOutputs<'a> = Option<&'a [&'a [f32]]>;

/// Calls `each` with every image's outputs of `rows`, in one pass over the source, in its order.
/// `watch` receives the numbers of images done and in total. Returns `false` if a stop was requested
/// before the end.
///
/// # Errors
/// If the data cannot be read or the device fails.
pub fn walk(
    predictor: &mut Predictor,
    loader: &mut Loader,
    rows: &[usize],
    stop: &Stop,
    watch: &mut dyn FnMut(u64, u64),
    each: &mut dyn FnMut(usize, ImageOutputs<'_>),
) -> Result<bool> {
    let lengths = rows.iter().map(|&row| predictor.layer(row).1.iter().product());
    let lengths: Vec<usize> = lengths.collect();
    let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); rows.len()];
    let (mut done, total) = (0, loader.source().len() as u64);
    loader.start_at(0, 0);
    while let Some(batch) = loader.next_batch()? {
        if stop.requested().is_some() {
            return Ok(false);
        }
        predictor.activations(&batch, rows, &mut |row, values| {
            for (at, output) in outputs.iter_mut().enumerate().filter(|(at, _)| rows[*at] == row) {
                output.clear();
                output.extend_from_slice(&values[..batch.images * lengths[at]]);
            }
        })?;
        for image in 0..batch.images {
            let of_image = outputs.iter().zip(&lengths);
            let of_image = of_image.map(|(all, &length)| &all[image * length..][..length]);
            let of_image: Vec<&[f32]> = of_image.collect();
            let is_read = batch.labels[image] != IGNORED;
            each(batch.samples[image] as usize, is_read.then_some(&of_image[..]));
        }
        done += batch.images as u64;
        watch(done, total);
    }
    Ok(true)
}
