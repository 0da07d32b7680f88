//! What a loader delivers.

use super::patience::AtHand;
use super::{Pass, Plan};
use crate::{Error, ReadBuffer, Result, Source};
use augment::{ColorShift, Resizer, View};
use random::{Purpose, Stream};

/// The label of a row that takes no part: padding, or an image that could not be read.
pub const IGNORED: u32 = u32::MAX;

/// How many images are tried in place of a bad one. They are drawn by seed, epoch and image, so
/// that every run takes the same.
const REPLACEMENTS: usize = 32;

/// Rows that an image takes at most.
const MOST_VIEWS: usize = 10;

/// A batch in host memory, or the [part](Plan::part) of it that is delivered: rows of crops and
/// what the network must know about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Crops, not mirrored: rows x height x width x 3 bytes. Rows past [`images`](Self::images) are
    /// zero.
    pub pixels: Vec<u8>,
    /// For each row: top and left of the crop in the centre square, which the mean image is of;
    /// and 1 where it is to be mirrored. Crops of whole images may leave the square: then the
    /// nearest place inside.
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

    /// Fills in everything but the tints. Images that could not be read are added to `bad`; `hand`
    /// always knows the image at hand.
    pub(super) fn fill(
        &mut self,
        source: &dyn Source,
        plan: &Plan,
        (epoch, position): (u32, usize),
        desk: &mut Desk,
        bad: &mut Vec<(u32, Error)>,
        hand: &AtHand,
    ) -> Result<()> {
        let views = plan.views_per_image();
        let samples = plan.samples(source.len(), epoch, position);
        (self.epoch, self.position, self.images) = (epoch, position, samples.len() * views);
        for (image, sample) in samples.enumerate() {
            let mut others = Stream::new(plan.seed, Purpose::Replace, epoch, sample as u32);
            let (mut at, mut tries) = (sample, 0);
            loop {
                hand.begin(at);
                let read = self.fill_rows(source, plan, image * views, at, desk);
                let read = read.inspect_err(|error| bad.push((at as u32, error.clone())));
                tries += 1;
                match (read, plan.pass) {
                    (Err(error), Pass::Training) if tries > REPLACEMENTS => return Err(error),
                    (Err(_), Pass::Training) => at = others.below(source.len() as u32) as usize,
                    (Ok(()), _) | (Err(_), Pass::Testing) => break,
                }
            }
        }
        self.clear_from(self.images, plan);
        Ok(())
    }

    /// The rows from `first` on that image `sample` takes; if it cannot be read, they are ignored.
    fn fill_rows(
        &mut self,
        source: &dyn Source,
        plan: &Plan,
        first: usize,
        sample: usize,
        desk: &mut Desk,
    ) -> Result<()> {
        let (epoch, drawn_for) = (self.epoch, sample as u32);
        let (square, whole) = (source.size(), source.size_of(sample));
        let mut views = [View { top: 0, left: 0, mirror: false }; MOST_VIEWS];
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
        let Desk { buffer, resizer } = desk;
        let read = match plan.rectangle(epoch, drawn_for, square) {
            None => source.read_crops(sample, views, plan.crop, to, buffer),
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

/// A view of a whole image as a place in the square in its centre.
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
