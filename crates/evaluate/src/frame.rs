//! What surrounds a network: images and labels in front of it, the loss behind it.

use crate::metrics::Tally;

use data::Batch;
use kernels::denormal::upload;
use kernels::{preprocess, softmax_loss};
use layers::Spec;
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot};
use weights::Mean;

/// Slots around a network for a fixed number of images.
#[derive(Debug)]
pub struct Frame {
    pixels: Slot,
    views: Slot,
    tints: Slot,
    labels: Slot,
    mean: Slot,
    /// `[images, classes]`.
    pub probabilities: Slot,
    /// Loss, top-1 errors, top-5 errors, images.
    pub tally: Slot,
    preprocess: preprocess::Geometry,
    loss: softmax_loss::Geometry,
    /// What pixels less their mean are multiplied by.
    scale: f32,
    scaled_tints: Vec<f32>,
}

impl Frame {
    /// Claims them for `images` images and so many classes, less a mean image of a height and width
    /// or less a mean colour. To be claimed before the network: they live as long as the step.
    ///
    /// # Panics
    /// If the images have other than three channels.
    pub fn plan(
        spec: &Spec,
        (images, classes): (usize, usize),
        (mean, stored): (Mean, [usize; 2]),
        planner: &mut Planner,
    ) -> Frame {
        let [height, width, channels] = spec.input;
        assert_eq!(channels, 3, "images have three channels");
        let mut claim = |dtype, shape| planner.claim(dtype, shape);
        let (mean, form) = match mean {
            Mean::Color => (claim(DType::F32, Shape::from([3])), preprocess::Mean::Color),
            Mean::Image => {
                let [height, width] = stored;
                let slot = claim(DType::F32, Shape::from([height, width, 3]));
                (slot, preprocess::Mean::Image { height, width })
            }
        };
        Frame {
            pixels: claim(DType::U8, Shape::from([images, height, width, 3])),
            views: claim(DType::U32, Shape::from([images, 3])),
            tints: claim(DType::F32, Shape::from([images, 4])),
            labels: claim(DType::U32, Shape::from([images])),
            mean,
            probabilities: claim(DType::F32, Shape::from([images, classes])),
            tally: claim(DType::F32, softmax_loss::tally_shape(images)),
            preprocess: preprocess::Geometry { images, height, width, mean: form },
            loss: softmax_loss::Geometry { images, classes },
            scale: 1.0,
            scaled_tints: vec![0.0; 4 * images],
        }
    }

    /// Images that it is for.
    pub fn images(&self) -> usize {
        self.preprocess.images
    }

    /// Classes told apart.
    pub fn classes(&self) -> usize {
        self.loss.classes
    }

    /// Sets what is subtracted from every image, and what the difference is multiplied by.
    ///
    /// # Errors
    /// If the device fails, here and below.
    ///
    /// # Panics
    /// If the mean is not of the planned size.
    pub fn set_input(
        &mut self,
        device: &mut Device,
        mean: &[f32],
        scale: f64,
    ) -> tensor::Result<()> {
        assert_eq!(mean.len(), self.mean.len(), "the mean is of another size");
        upload(device, self.mean, mean)?;
        self.scale = scale as f32;
        Ok(())
    }

    /// Sends rows of a batch to their slots, while the last step's backward pass, which reads none
    /// of them, may still be under way.
    ///
    /// # Errors
    /// If the device fails.
    pub fn load(
        &mut self,
        device: &mut Device,
        batch: &Batch,
        rows: Range<usize>,
    ) -> tensor::Result<()> {
        let own = batch.tints[rows.clone()].as_flattened();
        let tints = &mut self.scaled_tints[..own.len()];
        tints.iter_mut().zip(own).for_each(|(scaled, tint)| *scaled = tint * self.scale);
        let bytes = batch.pixels.len() / batch.labels.len().max(1);
        device.upload_ahead(self.pixels, &batch.pixels[rows.start * bytes..rows.end * bytes])?;
        device.upload_ahead(self.views, batch.views[rows.clone()].as_flattened())?;
        device.upload_ahead(self.labels, &batch.labels[rows])?;
        device.upload_ahead(self.tints, tints)
    }

    /// Pixels to the network's input `x`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn preprocess(&self, device: &mut Device, x: Slot) -> tensor::Result<()> {
        let Frame { pixels, views, tints, mean, .. } = *self;
        let inputs = preprocess::Inputs { pixels, views, tints, mean };
        preprocess::forward(device, &self.preprocess, inputs, x)
    }

    /// Scores to the loss, its gradient and the tally.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss(&self, device: &mut Device, scores: Slot, d_scores: Slot) -> tensor::Result<()> {
        let (labels, tally) = (self.labels, self.tally);
        softmax_loss::forward_backward(device, &self.loss, scores, labels, d_scores, tally)
    }

    /// Scores to probabilities and the tally.
    ///
    /// # Errors
    /// If the device fails.
    pub fn probabilities(&self, device: &mut Device, scores: Slot) -> tensor::Result<()> {
        let Frame { labels, probabilities, tally, .. } = *self;
        softmax_loss::forward(device, &self.loss, scores, labels, probabilities, tally)
    }

    /// The tally of the last loss or probabilities.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tally(&self, device: &Device) -> tensor::Result<Tally> {
        let mut sums = [0.0; 4];
        device.download_into(self.tally, &mut sums)?;
        Ok(Tally::from_kernel(sums))
    }
}
