//! Which images a loader delivers, in which order, seen how.

use augment::{Jitter, Rectangle, ResizedCrop, View, nine_crop, ten_crop};
use random::Permutation;

/// Which images come, in which order, seen how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Rows of a batch. With ten or nine views an image takes as many rows.
    pub rows: usize,
    /// Which of how many equal parts of every batch is delivered; the others are not looked at.
    pub part: (usize, usize),
    /// Height and width of what the network sees.
    pub crop: (usize, usize),
    /// The seed of order and views.
    pub seed: u64,
    /// Training or testing.
    pub pass: Pass,
    /// How each image is seen.
    pub views: Views,
    /// How the crop's colours are changed, before anything else happens to them.
    pub jitter: Option<Jitter>,
}

/// The order of the images, and what happens to one that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Every epoch all images in a new order, without end. A bad image is replaced by another,
    /// drawn at random.
    Training,
    /// All images once, in their own order. A bad image's rows are marked
    /// [`IGNORED`](super::IGNORED).
    Testing,
}

/// How an image is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Views {
    /// One view; place and reflection are drawn anew each epoch where asked for, else centred and
    /// plain.
    One {
        /// Crop anywhere.
        random_place: bool,
        /// Mirror every other image.
        mirror: bool,
    },
    /// One view, whose place, size and shape are drawn anew each epoch, and which is then resized
    /// to the crop.
    Resized {
        /// Which rectangles of the stored image.
        crop: ResizedCrop,
        /// Mirror every other image.
        mirror: bool,
    },
    /// Four corners and the centre, and their reflections: ten rows, one after another.
    Ten,
    /// A grid of three by three, not mirrored: nine rows, one after another.
    Nine,
}

impl Plan {
    /// Training: random places, mirrored half the time.
    pub fn training(rows: usize, crop: (usize, usize), seed: u64) -> Plan {
        let views = Views::One { random_place: true, mirror: true };
        Plan { rows, part: (0, 1), crop, seed, pass: Pass::Training, views, jitter: None }
    }

    /// Testing on the centre of each image.
    pub fn testing(rows: usize, crop: (usize, usize)) -> Plan {
        let views = Views::One { random_place: false, mirror: false };
        Plan { rows, part: (0, 1), crop, seed: 0, pass: Pass::Testing, views, jitter: None }
    }

    /// Testing on ten views of each image.
    pub fn ten_views(rows: usize, crop: (usize, usize)) -> Plan {
        Plan { views: Views::Ten, ..Plan::testing(rows, crop) }
    }

    /// Testing on nine views of each image, the 2012 source's way with CIFAR.
    pub fn nine_views(rows: usize, crop: (usize, usize)) -> Plan {
        Plan { views: Views::Nine, ..Plan::testing(rows, crop) }
    }

    /// The same batches, of which only part `which` of `of` is delivered: the rows that it has in
    /// the whole batch, and no others. Parts are equal; so those of one batch, one after another,
    /// are the batch.
    ///
    /// # Panics
    /// If a full batch has not `of` equal parts, or there is no such part.
    pub fn part(self, (which, of): (usize, usize)) -> Plan {
        let images = self.images_per_batch();
        assert!(which < of, "part {which} of {of}");
        assert!(images.is_multiple_of(of), "{images} images a batch have not {of} equal parts");
        Plan { part: (which, of), ..self }
    }

    /// Rows that each image takes.
    pub fn views_per_image(&self) -> usize {
        match self.views {
            Views::One { .. } | Views::Resized { .. } => 1,
            Views::Ten => 10,
            Views::Nine => 9,
        }
    }

    /// Rows that are delivered of a batch.
    pub fn own_rows(&self) -> usize {
        self.rows / self.part.1
    }

    /// Images in a full batch.
    pub fn images_per_batch(&self) -> usize {
        self.rows / self.views_per_image()
    }

    /// Batches in an epoch over `len` images; the last may be short.
    pub fn batches(&self, len: usize) -> usize {
        len.div_ceil(self.images_per_batch())
    }

    /// The images of a batch that are delivered, in order.
    pub(super) fn samples(
        &self,
        len: usize,
        epoch: u32,
        batch: usize,
    ) -> impl ExactSizeIterator<Item = usize> + use<> {
        let (which, of) = self.part;
        let own = self.images_per_batch() / of;
        let first = len.min(batch * self.images_per_batch() + which * own);
        let positions = first..len.min(first + own);
        let (pass, order) = (self.pass, Permutation::new(self.seed, epoch, len as u64));
        positions.map(move |position| match pass {
            Pass::Testing => position,
            Pass::Training => order.at(position as u64) as usize,
        })
    }

    /// The view in row `row` of those that an image takes; of a rectangle that is resized, the part
    /// of the mean image that is subtracted: its centre.
    pub(super) fn view(&self, epoch: u32, sample: u32, size: (usize, usize), row: usize) -> View {
        match self.views {
            Views::Ten => ten_crop(size, self.crop)[row],
            Views::Nine => nine_crop(size, self.crop)[row],
            Views::Resized { mirror, .. } => {
                let drawn = View::draw(self.seed, epoch, sample, size, self.crop);
                View { mirror: mirror && drawn.mirror, ..View::centre(size, self.crop) }
            }
            Views::One { random_place, mirror } => {
                let drawn = View::draw(self.seed, epoch, sample, size, self.crop);
                let centre = View::centre(size, self.crop);
                let place = if random_place { drawn } else { centre };
                View { mirror: mirror && drawn.mirror, ..place }
            }
        }
    }
    /// The rectangle of an image that is resized to the crop, if the plan wants one.
    pub(super) fn rectangle(
        &self,
        epoch: u32,
        sample: u32,
        size: (usize, usize),
    ) -> Option<Rectangle> {
        match self.views {
            Views::Resized { crop, .. } => Some(crop.draw(self.seed, epoch, sample, size)),
            Views::One { .. } | Views::Ten | Views::Nine => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::Batch;
    use crate::{Fake, Loader, ReadBuffer, Shapes, Source};
    use augment::{Image, Resizer};
    use std::sync::Arc;

    const CROP: (usize, usize) = (20, 24);

    fn resized() -> Plan {
        let views = Views::Resized { crop: ResizedCrop::default(), mirror: true };
        Plan { views, ..Plan::training(6, CROP, 7) }
    }

    fn batches(source: Arc<dyn Source>, plan: Plan, workers: usize, count: usize) -> Vec<Batch> {
        let mut loader = Loader::new(source, plan, workers, 0);
        (0..count).map(|_| loader.next_batch().unwrap().unwrap().clone()).collect()
    }

    #[test]
    fn every_pixel_of_a_resized_crop_is_the_rectangles() {
        let source = Shapes::train(Shapes::SEED, 32, 20);
        let mut buffer = ReadBuffer::default();
        let got = batches(Arc::new(Shapes::train(Shapes::SEED, 32, 20)), resized(), 2, 8);
        let mut mirrored = 0;
        for batch in &got {
            for row in 0..batch.images {
                let sample = batch.samples[row];
                let size = (32, 32);
                let part = ResizedCrop::default().draw(7, batch.epoch, sample, size);
                let mut cut = Image::filled(part.height, part.width, [0; 3]);
                let pixels = source.read(sample as usize, &mut buffer).unwrap();
                let inside = (part.height, part.width);
                augment::crop(pixels, 32, part.top, part.left, inside, &mut cut.pixels);
                let mut wanted = Image::default();
                Resizer::default().resize(&cut, CROP.0, CROP.1, &mut wanted);
                let bytes = CROP.0 * CROP.1 * 3;
                assert_eq!(batch.pixels[row * bytes..][..bytes], wanted.pixels);
                // The centre of the mean image, and the reflection that any other crop would have.
                let mirror = View::draw(7, batch.epoch, sample, size, CROP).mirror;
                assert_eq!(batch.views[row], [6, 4, u32::from(mirror)]);
                mirrored += u32::from(mirror);
            }
        }
        assert!((5..40).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn jitter_changes_the_crop_as_drawn_and_nothing_else() {
        let jitter = Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        let source: Arc<dyn Source> = Arc::new(Shapes::train(Shapes::SEED, 32, 20));
        for plan in [resized(), Plan::training(6, CROP, 7)] {
            let plain = batches(source.clone(), plan, 1, 5);
            let with = batches(source.clone(), Plan { jitter: Some(jitter), ..plan }, 3, 5);
            for (mut plain, with) in plain.into_iter().zip(with) {
                assert_ne!(plain.pixels, with.pixels);
                let crops = plain.pixels.chunks_exact_mut(CROP.0 * CROP.1 * 3);
                for (crop, &sample) in crops.zip(&plain.samples[..plain.images]) {
                    augment::adjust(crop, &jitter.draw(7, plain.epoch, sample));
                }
                assert_eq!(plain, with);
            }
        }
    }

    #[test]
    fn nine_views_take_nine_rows_of_an_image() {
        let source = Fake::new(5, 24, 2);
        let plan = Plan::nine_views(20, (16, 16));
        assert_eq!((plan.images_per_batch(), plan.batches(5)), (2, 3));
        let got = batches(Arc::new(Fake::new(5, 24, 2)), plan, 2, 3);
        assert_eq!(got.iter().map(|batch| batch.images).collect::<Vec<_>>(), [18, 18, 9]);
        let mut buffer = ReadBuffer::default();
        for (index, view) in (0..5).flat_map(|index| (0..9).map(move |view| (index, view))) {
            let (batch, row) = (&got[index / 2], index % 2 * 9 + view);
            let (top, left) = (view / 3 * 4, view % 3 * 4);
            assert_eq!(batch.views[row], [top as u32, left as u32, 0]);
            assert_eq!(batch.samples[row], index as u32);
            let mut wanted = vec![0; 16 * 16 * 3];
            let pixels = source.read(index, &mut buffer).unwrap();
            augment::crop(pixels, 24, top, left, (16, 16), &mut wanted);
            assert_eq!(batch.pixels[row * wanted.len()..][..wanted.len()], wanted);
        }
    }
}
