//! A network's surroundings: preprocessing of images before it, the loss after it.

use crate::metrics::Tally;
use crate::targets::{LossSettings, WeightSum};
use data::Batch;
use kernels::denormal::upload;
use kernels::preprocess::{CHANNELS, TINTS};
use kernels::{preprocess, softmax_loss};
use layers::Spec;
use std::ops::Range;
use tensor::{DType, Device, Error, Planner, Shape, Slot};
use weights::{Mean, Scale};

/// The slots before and after a network, for a fixed number of images.
#[derive(Debug)]
pub struct Frame {
    pixels: Slot,
    views: Slot,
    tints: Slot,
    labels: Slot,
    /// For dense targets: a slot, its values on the host, and the labels of the training error.
    dense: Option<DenseTargets>,
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

/// The input of a frame, and its loss.
#[derive(Clone, Copy, Debug)]
pub struct FrameInput {
    /// The kind of mean.
    pub mean: Mean,
    /// Height and width of a mean image.
    pub stored: [usize; 2],
    /// Whether the training loss has dense targets.
    pub dense_targets: bool,
}

impl From<(Mean, [usize; 2])> for FrameInput {
    /// Labels are the targets.
    fn from((mean, stored): (Mean, [usize; 2])) -> FrameInput {
        FrameInput { mean, stored, dense_targets: false }
    }
}

#[derive(Debug)]
struct DenseTargets {
    slot: Slot,
    settings: LossSettings,
    /// What targets are multiplied by.
    scale: f64,
    values: Vec<f32>,
    labels: Vec<u32>,
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
        input: impl Into<FrameInput>,
        planner: &mut Planner,
    ) -> Frame {
        let FrameInput { mean, stored, dense_targets } = input.into();
        let [height, width, channels] = spec.input;
        assert_eq!(channels, 3, "images have three channels");
        let mut claim = |dtype, shape| planner.claim(dtype, shape);
        let (mean, form) = match (mean, stored) {
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
            dense: dense_targets.then(|| DenseTargets {
                slot: claim(DType::F32, Shape::from([images, classes])),
                settings: LossSettings::default(),
                scale: 1.0,
                values: vec![0.0; images * classes],
                labels: vec![0; images],
            }),
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

    /// Sets the loss of training.
    ///
    /// # Panics
    /// If it has dense targets and was planned without, or has another number of classes.
    pub fn set_loss(&mut self, settings: LossSettings) {
        let weights = settings.class_weights.as_ref();
        let classes = self.loss.classes;
        if classes == 0 {
            return; // a tower without the loss
        }
        assert!(weights.is_none_or(|w| w.len() == classes), "weights of {classes} classes");
        match &mut self.dense {
            Some(dense) => dense.settings = settings,
            None => assert!(!settings.is_dense(), "a loss with dense targets was not planned"),
        }
    }

    /// The sum of weights by which the loss of a batch is divided; `None`: the number of images.
    pub fn weight_sum(&self, batch: &Batch) -> Option<WeightSum> {
        self.dense.as_ref()?.settings.weight_sum(batch)
    }

    /// Sets the normaliser of the following batch, from its number of labelled images and the sum
    /// of their weights.
    pub fn set_normaliser(&mut self, images: f64, weights: Option<WeightSum>) {
        if let Some(dense) = &mut self.dense {
            dense.scale = match weights.map(|sum| dense.settings.value_of(sum)) {
                None => 1.0,
                Some(sum) if sum > 0.0 => images / sum,
                Some(_) => 0.0, // no image counts
            };
        }
    }

    /// Uploads the targets of rows that [`load`](Self::load) has uploaded, for training; does
    /// nothing if labels are the targets.
    ///
    /// # Errors
    /// If the device fails.
    pub fn load_targets(
        &mut self,
        device: &mut Device,
        batch: &Batch,
        rows: Range<usize>,
    ) -> tensor::Result<()> {
        let Some(dense) = &mut self.dense else { return Ok(()) };
        let DenseTargets { slot, settings, scale, values, labels } = dense;
        settings.fill(batch, rows, *scale, values, labels);
        device.upload_ahead(*slot, values)?;
        match batch.mix {
            Some(_) => device.upload_ahead(self.labels, labels),
            None => Ok(()), // the batch's labels
        }
    }

    /// Uploads as many rows of a batch as are planned. The previous step's backward pass, which
    /// reads none of these slots, may still be running.
    ///
    /// # Errors
    /// [`Error::Misuse`] if the batch does not have these rows, or they are more or fewer than
    /// [`images`](Self::images); if the device fails.
    pub fn load(
        &mut self,
        device: &mut Device,
        batch: &Batch,
        rows: Range<usize>,
    ) -> tensor::Result<()> {
        self.check_rows(batch, &rows)?;
        let bytes = self.image_bytes();
        let own = &batch.tints[rows.clone()];
        let tints = &mut self.scaled_tints[..TINTS * own.len()];
        for (scaled, [gain, shift @ ..]) in tints.chunks_exact_mut(TINTS).zip(own) {
            let (gains, shifts) = scaled.split_at_mut(CHANNELS);
            for (channel, scale) in self.scale.into_iter().enumerate() {
                gains[channel] = gain * scale;
                shifts[channel] = shift[channel] * scale;
            }
        }
        device.upload_ahead(self.pixels, &batch.pixels[rows.start * bytes..rows.end * bytes])?;
        device.upload_ahead(self.views, batch.views[rows.clone()].as_flattened())?;
        device.upload_ahead(self.labels, &batch.labels[rows])?;
        device.upload_ahead(self.tints, tints)
    }

    fn image_bytes(&self) -> usize {
        self.pixels.len() / self.images().max(1)
    }

    /// Checks that the rows are in the batch, each with all that belongs to it.
    fn check_rows(&self, batch: &Batch, rows: &Range<usize>) -> tensor::Result<()> {
        let (count, refused) = (batch.labels.len(), |reason| Err(Error::Misuse(reason)));
        if rows.len() != self.images() || rows.end > count {
            return refused(format!(
                "rows {} to {} of a batch of {count}, where {} are planned: fill the batch with rows \
                 that are labelled data::IGNORED",
                rows.start,
                rows.end,
                self.images()
            ));
        }
        let Batch { pixels, views, tints, mix, other_labels, .. } = batch;
        let bytes = self.image_bytes();
        if pixels.len() != count * bytes || views.len() != count || tints.len() != count {
            return refused(format!(
                "a batch with {count} labels, {} views, {} tints and {} bytes of pixels: each image \
                 has one of each and {bytes} bytes",
                views.len(),
                tints.len(),
                pixels.len()
            ));
        }
        if mix.is_some() && other_labels.len() != count {
            let others = other_labels.len();
            return refused(format!("a mixed batch with {count} labels and {others} other labels"));
        }
        Ok(())
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
        if let Some(DenseTargets { slot: targets, .. }) = self.dense {
            let inputs = softmax_loss::DenseInputs { logits: scores, labels, targets };
            let g = &self.loss;
            return softmax_loss::forward_backward_dense(device, g, inputs, d_scores, tally);
        }
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
