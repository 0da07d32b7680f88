//! What a loader delivers.

use super::{Pass, Plan};
use crate::{Error, ReadBuffer, Result, Source};
use augment::{ColorShift, Resizer};
use random::{Purpose, Stream};

/// The label of a row that takes no part: padding, or an image that could not be read.
pub const IGNORED: u32 = u32::MAX;

/// How many images are tried in place of a bad one. They are drawn by seed, epoch and image, so
/// that every run takes the same.
const REPLACEMENTS: usize = 32;

/// A batch in host memory: `rows` crops and what the network must know about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Crops, not mirrored: rows x height x width x 3 bytes. Rows past [`images`](Self::images) are
    /// zero.
    pub pixels: Vec<u8>,
    /// For each row: top, left, and 1 where the crop is to be mirrored.
    pub views: Vec<[u32; 3]>,
    /// For each row: gain, red, green, blue; `x <- (x - mean) * gain + color`.
    pub tints: Vec<[f32; 4]>,
    /// For each row: its class, or [`IGNORED`].
    pub labels: Vec<u32>,
    /// For each row: its image's index in the source; [`IGNORED`] in padding.
    pub samples: Vec<u32>,
    /// Rows that are no padding (with ten views, ten for each image).
    pub images: usize,
    /// Counted from 0.
    pub epoch: u32,
    /// Which batch of its epoch, counted from 0.
    pub position: usize,
}

/// What a worker keeps from batch to batch, so that reading allocates nothing new.
#[derive(Debug, Default)]
pub(super) struct Desk {
    buffer: ReadBuffer,
    /// From a rectangle to the crop's size.
    resizer: Resizer,
}

impl Batch {
    pub(super) fn new(plan: &Plan) -> Batch {
        Batch {
            pixels: vec![0; plan.rows * plan.crop.0 * plan.crop.1 * 3],
            views: vec![[0; 3]; plan.rows],
            tints: vec![ColorShift::NONE; plan.rows],
            labels: vec![IGNORED; plan.rows],
            samples: vec![IGNORED; plan.rows],
            images: 0,
            epoch: 0,
            position: 0,
        }
    }

    /// Fills in everything but the tints. Images that could not be read are added to `bad`; `at`
    /// always holds the image at hand.
    pub(super) fn fill(
        &mut self,
        source: &dyn Source,
        plan: &Plan,
        (epoch, position): (u32, usize),
        desk: &mut Desk,
        bad: &mut Vec<(u32, Error)>,
        at: &mut usize,
    ) -> Result<()> {
        let views = plan.views_per_image();
        let Desk { buffer, resizer } = desk;
        let samples = plan.samples(source.len(), epoch, position);
        (self.epoch, self.position, self.images) = (epoch, position, samples.len() * views);
        for (image, sample) in samples.enumerate() {
            let mut others = Stream::new(plan.seed, Purpose::Replace, epoch, sample as u32);
            let mut tries = 0;
            *at = sample;
            loop {
                let pixels = source
                    .read(*at, buffer)
                    .inspect_err(|error| bad.push((*at as u32, error.clone())));
                tries += 1;
                match (pixels, plan.pass) {
                    (Err(error), Pass::Training) if tries > REPLACEMENTS => return Err(error),
                    (Err(_), Pass::Training) => *at = others.below(source.len() as u32) as usize,
                    (pixels, _) => {
                        let pixels = pixels.ok();
                        for view in 0..views {
                            let row = (image * views + view, view);
                            self.fill_row(source, plan, row, *at, pixels, resizer);
                        }
                        break;
                    }
                }
            }
        }
        self.clear_from(self.images, plan);
        Ok(())
    }

    /// Row `row`: view `view` of image `sample`, whose pixels may be missing.
    fn fill_row(
        &mut self,
        source: &dyn Source,
        plan: &Plan,
        (row, view): (usize, usize),
        sample: usize,
        pixels: Option<&[u8]>,
        resizer: &mut Resizer,
    ) {
        let (size, seed) = (source.size(), plan.seed);
        let view = plan.view(self.epoch, sample as u32, size, view);
        self.samples[row] = sample as u32;
        self.views[row] = [view.top as u32, view.left as u32, u32::from(view.mirror)];
        let bytes = plan.crop.0 * plan.crop.1 * 3;
        let to = &mut self.pixels[row * bytes..][..bytes];
        match pixels {
            Some(pixels) => {
                self.labels[row] = source.label(sample);
                match plan.rectangle(self.epoch, sample as u32, size) {
                    Some(part) => resizer.window(pixels, size, part, plan.crop, to),
                    None => augment::crop(pixels, size.1, view.top, view.left, plan.crop, to),
                }
                if let Some(jitter) = plan.jitter {
                    augment::adjust(to, &jitter.draw(seed, self.epoch, sample as u32));
                }
            }
            None => {
                self.labels[row] = IGNORED;
                to.fill(0);
            }
        }
    }

    fn clear_from(&mut self, row: usize, plan: &Plan) {
        self.pixels[row * plan.crop.0 * plan.crop.1 * 3..].fill(0);
        self.views[row..].fill([0; 3]);
        self.labels[row..].fill(IGNORED);
        self.samples[row..].fill(IGNORED);
    }

    /// Draws the colour shifts.
    pub(super) fn tint(&mut self, color: Option<&ColorShift>, seed: u64) {
        self.tints.fill(ColorShift::NONE);
        if let Some(color) = color {
            for (tint, &sample) in self.tints.iter_mut().zip(&self.samples[..self.images]) {
                *tint = color.draw(seed, self.epoch, sample);
            }
        }
    }
}
