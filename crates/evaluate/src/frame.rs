//! A network's surroundings: preprocessing of images before it, the loss after it.

use crate::metrics::Tally;
use data::Batch;
use kernels::denormal::upload;
use kernels::preprocess::{CHANNELS, TINTS};
use kernels::{preprocess, softmax_loss};
use layers::Spec;
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot};
use weights::{Mean, Scale};

/// The slots before and after a network, for a fixed number of images.
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
    /// Factors of `pixel - mean` for red, green and blue.
    scale: [f32; CHANNELS],
    scaled_tints: Vec<f32>,
}

impl Frame {
    /// Claims the slots for `images` images and `classes` classes; `input` is the kind of mean and
    /// the height and width of a mean image. Must be planned before the network, as these slots are
    /// live for the whole step.
    ///
    /// # Panics
    /// If images do not have three channels.
    pub fn plan(
        spec: &Spec,
        images: usize,
        classes: usize,
        input: (Mean, [usize; 2]),
        planner: &mut Planner,
    ) -> Frame {
        let [height, width, channels] = spec.input;
        assert_eq!(channels, 3, "images have three channels");
        let mut claim = |dtype, shape| planner.claim(dtype, shape);
        let (mean, form) = match input {
            (Mean::Color, _) => (claim(DType::F32, Shape::from([3])), preprocess::Mean::Color),
            (Mean::Image, [height, width]) => {
                let slot = claim(DType::F32, Shape::from([height, width, 3]));
                (slot, preprocess::Mean::Image { height, width })
            }
        };
        Frame {
            pixels: claim(DType::U8, Shape::from([images, height, width, 3])),
            views: claim(DType::U32, Shape::from([images, 3])),
            tints: claim(DType::F32, Shape::from([images, TINTS])),
            labels: claim(DType::U32, Shape::from([images])),
            mean,
            probabilities: claim(DType::F32, Shape::from([images, classes])),
            tally: claim(DType::F32, softmax_loss::tally_shape(images)),
            preprocess: preprocess::Geometry { images, height, width, mean: form },
            loss: softmax_loss::Geometry { images, classes },
            scale: [1.0; CHANNELS],
            scaled_tints: vec![0.0; TINTS * images],
        }
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.preprocess.images
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.loss.classes
    }

    /// Sets the mean that is subtracted from every image, and the factor after subtraction.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If the mean has another size than planned.
    pub fn set_input(
        &mut self,
        device: &mut Device,
        mean: &[f32],
        scale: Scale,
    ) -> tensor::Result<()> {
        assert_eq!(mean.len(), self.mean.len(), "the mean has another size than planned");
        upload(device, self.mean, mean)?;
        self.scale = scale.channels().map(|scale| scale as f32);
        Ok(())
    }

    /// Uploads rows of a batch. The previous step's backward pass, which reads none of these slots,
    /// may still be running.
    ///
    /// # Errors
    /// If the device fails.
    pub fn load(
        &mut self,
        device: &mut Device,
        batch: &Batch,
        rows: Range<usize>,
    ) -> tensor::Result<()> {
        let own = &batch.tints[rows.clone()];
        let tints = &mut self.scaled_tints[..TINTS * own.len()];
        for (scaled, [gain, shift @ ..]) in tints.chunks_exact_mut(TINTS).zip(own) {
            let (gains, shifts) = scaled.split_at_mut(CHANNELS);
            for (channel, scale) in self.scale.into_iter().enumerate() {
                gains[channel] = gain * scale;
                shifts[channel] = shift[channel] * scale;
            }
        }
        let bytes = batch.pixels.len() / batch.labels.len().max(1);
        device.upload_ahead(self.pixels, &batch.pixels[rows.start * bytes..rows.end * bytes])?;
        device.upload_ahead(self.views, batch.views[rows.clone()].as_flattened())?;
        device.upload_ahead(self.labels, &batch.labels[rows])?;
        device.upload_ahead(self.tints, tints)
    }

    /// Computes the network's input `x` from pixels.
    ///
    /// # Errors
    /// If the device fails.
    pub fn preprocess(&self, device: &mut Device, x: Slot) -> tensor::Result<()> {
        let Frame { pixels, views, tints, mean, .. } = *self;
        let inputs = preprocess::Inputs { pixels, views, tints, mean };
        preprocess::forward(device, &self.preprocess, inputs, x)
    }

    /// Computes the loss, its gradient and the tally from scores.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss(&self, device: &mut Device, scores: Slot, d_scores: Slot) -> tensor::Result<()> {
        let (labels, tally) = (self.labels, self.tally);
        softmax_loss::forward_backward(device, &self.loss, scores, labels, d_scores, tally)
    }

    /// Computes probabilities and the tally from scores.
    ///
    /// # Errors
    /// If the device fails.
    pub fn probabilities(&self, device: &mut Device, scores: Slot) -> tensor::Result<()> {
        let Frame { labels, probabilities, tally, .. } = *self;
        softmax_loss::forward(device, &self.loss, scores, labels, probabilities, tally)
    }

    /// Downloads the tally of the last loss or probabilities.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tally(&self, device: &Device) -> tensor::Result<Tally> {
        let mut sums = [0.0; 4];
        device.download_into(self.tally, &mut sums)?;
        Ok(Tally::from_kernel(sums))
    }
}
