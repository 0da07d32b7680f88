//! A batch of images in host memory.

use super::changes::{Crop, DrawName, MeanBytes};
use super::mixing::Previous;
use super::pixels::{MakeMemory, Pixels};
use super::sampling::{ByClass, Pick};
use super::stall::ReadClock;
use super::{LoaderMode, LoaderPlan};
use crate::{Crops, Error, ReadBuffer, Result, Source};
use augment::{Canvas, ColorShift, Mix, Resizer, View};
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
    pub pixels: Pixels,
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
    /// For each row: the index that names its random draws; [`IGNORED`] in padding.
    pub draws: Vec<u32>,
    /// How the images are mixed, each with the one before it.
    pub mix: Option<Mix>,
    /// If the images are mixed, for each row: the class of the other image.
    pub other_labels: Vec<u32>,
    /// If the images are mixed, for each row: what names the other image's random draws.
    pub other_draws: Vec<u32>,
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
    /// Memory of changes.
    canvas: Canvas,
    /// The image before a batch's first, for mixing.
    previous: Previous,
    /// A batch of one row, into which that image is read.
    one: Option<Box<Batch>>,
}

/// What the batches are filled from.
#[derive(Clone, Copy)]
pub(super) struct Filling<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) plan: &'a LoaderPlan,
    pub(super) by_class: &'a ByClass,
    /// The mean image, rounded to bytes.
    pub(super) mean: Option<&'a [u8]>,
    /// Shows the current image.
    pub(super) clock: &'a ReadClock,
}

impl Batch {
    pub(super) fn new(plan: &LoaderPlan, make: MakeMemory<'_>) -> Batch {
        Batch::of_rows(plan, plan.own_rows(), make)
    }

    fn of_rows(plan: &LoaderPlan, rows: usize, make: MakeMemory<'_>) -> Batch {
        Batch {
            pixels: Pixels::zeros(rows * plan.crop.0 * plan.crop.1 * 3, make),
            views: vec![[0; 3]; rows],
            tints: vec![ColorShift::NONE; rows],
            labels: vec![IGNORED; rows],
            samples: vec![IGNORED; rows],
            draws: vec![IGNORED; rows],
            ..Batch::default()
        }
    }

    /// Fills everything but the tints with batch `position` of epoch `epoch`. Errors of unreadable
    /// images are added to `bad`.
    pub(super) fn fill(
        &mut self,
        filling: Filling<'_>,
        (epoch, position): (u32, usize),
        scratch: &mut Scratch,
        bad: &mut Vec<(u32, Error)>,
    ) -> Result<()> {
        let Filling { source, plan, by_class, .. } = filling;
        let (views, len) = (plan.views_per_image(), source.len());
        let positions = plan.positions(len, position);
        (self.epoch, self.position, self.images) = (epoch, position, positions.len() * views);
        for (image, at) in positions.clone().enumerate() {
            let pick = plan.pick(by_class, len, epoch, at);
            self.fill_image(filling, image * views, pick, scratch, bad)?;
        }
        self.clear_from(self.images, plan);
        self.mix = plan.mixing.draw(plan.seed, epoch, position as u32, plan.crop);
        let Some(mix) = self.mix else { return Ok(()) };
        if self.images > 0 {
            let previous = plan.previous(len, position);
            if positions.contains(&previous) {
                self.copy_row(previous - positions.start, &mut scratch.previous);
            } else {
                let pick = plan.pick(by_class, len, epoch, previous);
                let new = || Box::new(Batch::of_rows(plan, 1, &mut |_| None));
                let mut one = scratch.one.take().unwrap_or_else(new);
                one.epoch = epoch;
                one.fill_image(filling, 0, pick, scratch, bad)?;
                one.copy_row(0, &mut scratch.previous);
                scratch.one = Some(one);
            }
        }
        self.mix_rows(&mix, &scratch.previous, plan.crop.1);
        Ok(())
    }

    fn copy_row(&self, row: usize, into: &mut Previous) {
        let bytes = self.pixels.len() / self.labels.len();
        into.pixels.clear();
        into.pixels.extend_from_slice(&self.pixels[row * bytes..][..bytes]);
        (into.label, into.draw) = (self.labels[row], self.draws[row]);
    }

    /// Fills the rows of an image from `first` on, or of its replacement.
    fn fill_image(
        &mut self,
        filling: Filling<'_>,
        first: usize,
        pick: Pick,
        scratch: &mut Scratch,
        bad: &mut Vec<(u32, Error)>,
    ) -> Result<()> {
        let Filling { source, plan, clock, .. } = filling;
        let mut replacements = Stream::new(plan.seed, Purpose::Replace, self.epoch, pick.draw);
        let (mut pick, mut tries) = (pick, 0);
        loop {
            clock.begin(pick.sample);
            let read = self.fill_rows(filling, first, pick, scratch);
            let read = read.inspect_err(|error| bad.push((pick.sample as u32, error.clone())));
            tries += 1;
            match (read, plan.mode) {
                (Err(error), LoaderMode::Training) if tries > REPLACEMENTS => return Err(error),
                (Err(_), LoaderMode::Training) => {
                    pick = pick.replaced_by(replacements.below(source.len() as u32));
                }
                (Ok(()), _) | (Err(_), LoaderMode::Testing) => return Ok(()),
            }
        }
    }

    /// Fills the rows of an image from `first` on; if it cannot be read, they are ignored.
    fn fill_rows(
        &mut self,
        filling: Filling<'_>,
        first: usize,
        Pick { sample, draw, .. }: Pick,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Filling { source, plan, mean, .. } = filling;
        let epoch = self.epoch;
        let (square, whole) = (source.size(), source.size_of(sample));
        let mut views = [View { top: 0, left: 0, mirror: false }; MAX_VIEWS];
        let views = &mut views[..plan.views_per_image()];
        let rows = first..first + views.len();
        for (number, (view, row)) in views.iter_mut().zip(rows.clone()).enumerate() {
            *view = plan.view(epoch, draw, whole, number);
            let (top, left) = in_square(view, whole, square, plan.crop);
            self.views[row] = [top as u32, left as u32, u32::from(view.mirror)];
        }
        self.samples[rows.clone()].fill(sample as u32);
        self.draws[rows.clone()].fill(draw);
        let bytes = plan.crop.0 * plan.crop.1 * 3;
        let to = &mut self.pixels[first * bytes..rows.end * bytes];
        let Scratch { buffer, resizer, canvas, .. } = scratch;
        let read = match plan.rectangle(epoch, draw, square) {
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
        self.labels[rows.clone()].fill(source.label(sample));
        let name = DrawName { seed: plan.seed, epoch, index: draw };
        let mean = mean.map(|pixels| MeanBytes { pixels, width: square.1 });
        // Mixed images must have one orientation: they are mirrored here.
        let mirrored_later = !plan.is_mixing();
        for (pixels, row) in to.chunks_exact_mut(bytes).zip(rows) {
            let [top, left, mirror] = self.views[row].map(|n| n as usize);
            let view = View { top, left, mirror: mirror == 1 };
            let crop = Crop { pixels, size: plan.crop, view, mirrored_later };
            plan.changes.apply(crop, name, mean, canvas);
            self.views[row][2] &= u32::from(mirrored_later);
        }
        Ok(())
    }

    fn clear_from(&mut self, row: usize, plan: &LoaderPlan) {
        self.pixels[row * plan.crop.0 * plan.crop.1 * 3..].fill(0);
        self.views[row..].fill([0; 3]);
        self.labels[row..].fill(IGNORED);
        self.samples[row..].fill(IGNORED);
        self.draws[row..].fill(IGNORED);
    }

    /// Draws the colour shifts. A blend of two images has a blend of both shifts; in a cut, the
    /// other image's part has the shift of the first.
    pub(super) fn tint(&mut self, color: Option<&ColorShift>, seed: u64) {
        self.tints.fill(ColorShift::NONE);
        let Some(color) = color else { return };
        let own = &self.draws[..self.images];
        for (tint, &draw) in self.tints.iter_mut().zip(own) {
            *tint = color.draw(seed, self.epoch, draw);
        }
        let Some([weight, rest]) = self.mix.map(|mix| mix.weights()) else { return };
        if weight < 1.0 {
            for (tint, &draw) in self.tints.iter_mut().zip(&self.other_draws[..self.images]) {
                let other = color.draw(seed, self.epoch, draw);
                *tint = std::array::from_fn(|k| tint[k] * weight + other[k] * rest);
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
