//! A batch of images in host memory.

use super::stall::ReadClock;
use super::{LoaderMode, LoaderPlan};
use crate::{Crops, Error, ReadBuffer, Result, Source};
use augment::{ColorShift, Resizer, View};
use random::{Purpose, Stream};

/// The label of a row that does not count: padding, or an unreadable image.
pub const IGNORED: u32 = u32::MAX;

/// How many replacements of an unreadable image are tried. They are drawn by seed, epoch and image,
/// so that every run takes the same.
const REPLACEMENTS: usize = 32;

/// The largest number of rows of an image.
const MAX_VIEWS: usize = 10;

/// A batch in host memory, or the delivered [part](LoaderPlan::part) of it: rows of crops and their
/// labels and transforms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Crops, not mirrored: rows x height x width x 3 bytes. Rows past [`images`](Self::images) are
    /// zero.
    pub pixels: Vec<u8>,
    /// For each row: top and left of the crop in the centre square, which is the area of the mean
    /// image; and 1 if it is to be mirrored. A crop outside the square has the nearest position
    /// inside.
    pub views: Vec<[u32; 3]>,
    /// For each row: gain, red, green, blue; `x <- (x - mean) * gain + color`.
    pub tints: Vec<[f32; 4]>,
    /// For each row: its class, or [`IGNORED`].
    pub labels: Vec<u32>,
    /// For each row: its image's index in the source; [`IGNORED`] in padding.
    pub samples: Vec<u32>,
    /// Rows without padding (with ten views: ten per image).
    pub images: usize,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The position of the batch in its epoch, from 0.
    pub position: usize,
}

/// A worker's memory, reused so that reading does not allocate.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    buffer: ReadBuffer,
    /// Resizes rectangles to the crop's size.
    resizer: Resizer,
}

impl Batch {
    pub(super) fn new(plan: &LoaderPlan) -> Batch {
        let rows = plan.own_rows();
        Batch {
            pixels: vec![0; rows * plan.crop.0 * plan.crop.1 * 3],
            views: vec![[0; 3]; rows],
            tints: vec![ColorShift::NONE; rows],
            labels: vec![IGNORED; rows],
            samples: vec![IGNORED; rows],
            images: 0,
            epoch: 0,
            position: 0,
        }
    }

    /// Fills everything but the tints with batch `position` of epoch `epoch`. Errors of unreadable
    /// images are added to `bad`; `clock` shows the current image.
    pub(super) fn fill(
        &mut self,
        source: &dyn Source,
        plan: &LoaderPlan,
        (epoch, position): (u32, usize),
        scratch: &mut Scratch,
        bad: &mut Vec<(u32, Error)>,
        clock: &ReadClock,
    ) -> Result<()> {
        let views = plan.views_per_image();
        let samples = plan.samples(source.len(), epoch, position);
        (self.epoch, self.position, self.images) = (epoch, position, samples.len() * views);
        for (image, sample) in samples.enumerate() {
            let mut replacements = Stream::new(plan.seed, Purpose::Replace, epoch, sample as u32);
            let (mut at, mut tries) = (sample, 0);
            loop {
                clock.begin(at);
                let read = self.fill_rows(source, plan, image * views, at, scratch);
                let read = read.inspect_err(|error| bad.push((at as u32, error.clone())));
                tries += 1;
                match (read, plan.mode) {
                    (Err(error), LoaderMode::Training) if tries > REPLACEMENTS => {
                        return Err(error);
                    }
                    (Err(_), LoaderMode::Training) => {
                        at = replacements.below(source.len() as u32) as usize
                    }
                    (Ok(()), _) | (Err(_), LoaderMode::Testing) => break,
                }
            }
        }
        self.clear_from(self.images, plan);
        Ok(())
    }

    /// Fills the rows of image `sample` from `first` on; if it cannot be read, they are ignored.
    fn fill_rows(
        &mut self,
        source: &dyn Source,
        plan: &LoaderPlan,
        first: usize,
        sample: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (epoch, drawn_for) = (self.epoch, sample as u32);
        let (square, whole) = (source.size(), source.size_of(sample));
        let mut views = [View { top: 0, left: 0, mirror: false }; MAX_VIEWS];
        let views = &mut views[..plan.views_per_image()];
        let rows = first..first + views.len();
        for (number, (view, row)) in views.iter_mut().zip(rows.clone()).enumerate() {
            *view = plan.view(epoch, drawn_for, whole, number);
            let (top, left) = in_square(view, whole, square, plan.crop);
            self.views[row] = [top as u32, left as u32, u32::from(view.mirror)];
        }
        self.samples[rows.clone()].fill(drawn_for);
        let bytes = plan.crop.0 * plan.crop.1 * 3;
        let to = &mut self.pixels[first * bytes..rows.end * bytes];
        let Scratch { buffer, resizer } = scratch;
        let read = match plan.rectangle(epoch, drawn_for, square) {
            None => source.read_crops(sample, Crops { views, size: plan.crop, into: to }, buffer),
            Some(part) => source
                .read(sample, buffer)
                .map(|pixels| resizer.window(pixels, square, part, plan.crop, to)),
        };
        if read.is_err() {
            self.labels[rows].fill(IGNORED);
            to.fill(0);
            return read;
        }
        self.labels[rows].fill(source.label(sample));
        if let Some(jitter) = plan.jitter {
            let adjustment = jitter.draw(plan.seed, epoch, drawn_for);
            to.chunks_exact_mut(bytes).for_each(|row| augment::adjust(row, &adjustment));
        }
        Ok(())
    }

    fn clear_from(&mut self, row: usize, plan: &LoaderPlan) {
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

/// The position of a view of a whole image in its centre square.
fn in_square(
    view: &View,
    whole: (usize, usize),
    square: (usize, usize),
    crop: (usize, usize),
) -> (usize, usize) {
    let along = |at: usize, whole: usize, square: usize, crop: usize| {
        at.saturating_sub((whole - square) / 2).min(square - crop)
    };
    (along(view.top, whole.0, square.0, crop.0), along(view.left, whole.1, square.1, crop.1))
}
