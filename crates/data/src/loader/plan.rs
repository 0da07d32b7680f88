//! The images of each batch, their order and their crops.

use super::changes::Changes;
use super::sampling::ClassSampling;
use augment::{EraseFill, Mixing, Rectangle, ResizedCrop, View, nine_crop, ten_crop};
use std::ops::Range;

/// The images of each batch, their order and their crops.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderPlan {
    /// Rows of a batch. With ten or nine views, an image takes as many rows.
    pub rows: usize,
    /// The delivered part of every batch and the number of equal parts, such as (rank, ranks). The
    /// other parts are not read.
    pub part: (usize, usize),
    /// Height and width of the network's input.
    pub crop: (usize, usize),
    /// The seed of the order and of the views.
    pub seed: u64,
    /// Training or testing.
    pub mode: LoaderMode,
    /// The crops of each image.
    pub views: CropMode,
    /// Random changes of the crops.
    pub changes: Changes,
    /// Whether and how the images of a batch are mixed.
    pub mixing: Mixing,
    /// How the images of a training epoch are drawn.
    pub sampling: ClassSampling,
}

/// The order of the images, and how unreadable images are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoaderMode {
    /// All images in a new order every epoch, without end. An unreadable image is replaced by a
    /// random one.
    Training,
    /// All images once, in the source's order. The rows of an unreadable image are marked
    /// [`IGNORED`](super::IGNORED).
    Testing,
}

/// The crops of an image.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum CropMode {
    /// One crop. Its position and reflection are random and drawn every epoch where enabled, else
    /// centred and not mirrored.
    One {
        /// Random position.
        random_place: bool,
        /// Mirror half of the images.
        mirror: bool,
    },
    /// One rectangle whose position, size and aspect ratio are drawn every epoch, resized to the
    /// crop's size.
    Resized {
        /// The distribution of the rectangles.
        crop: ResizedCrop,
        /// Mirror half of the images.
        mirror: bool,
    },
    /// Four corners, the centre and their reflections: ten consecutive rows.
    Ten,
    /// A grid of three by three, not mirrored: nine consecutive rows.
    Nine,
}

impl LoaderPlan {
    /// Training on random crops, mirrored half the time.
    pub fn training(rows: usize, crop: (usize, usize), seed: u64) -> LoaderPlan {
        let views = CropMode::One { random_place: true, mirror: true };
        let mode = LoaderMode::Training;
        LoaderPlan { seed, mode, views, ..LoaderPlan::testing(rows, crop) }
    }

    /// Testing on the centre crop of each image.
    pub fn testing(rows: usize, crop: (usize, usize)) -> LoaderPlan {
        let views = CropMode::One { random_place: false, mirror: false };
        LoaderPlan {
            rows,
            part: (0, 1),
            crop,
            seed: 0,
            mode: LoaderMode::Testing,
            views,
            changes: Changes::default(),
            mixing: Mixing::default(),
            sampling: ClassSampling::default(),
        }
    }

    /// Testing on ten views of each image.
    pub fn ten_views(rows: usize, crop: (usize, usize)) -> LoaderPlan {
        LoaderPlan { views: CropMode::Ten, ..LoaderPlan::testing(rows, crop) }
    }

    /// Testing on nine views of each image, as the 2012 source does with CIFAR.
    pub fn nine_views(rows: usize, crop: (usize, usize)) -> LoaderPlan {
        LoaderPlan { views: CropMode::Nine, ..LoaderPlan::testing(rows, crop) }
    }

    /// The same batches, of which only part `index` of `count` is delivered. Parts are equal and
    /// consecutive: joined in order, they are the whole batch.
    ///
    /// # Panics
    /// If the images of a batch cannot be divided into `count` equal parts, or `index` is not less.
    pub fn part(self, (index, count): (usize, usize)) -> LoaderPlan {
        let images = self.images_per_batch();
        assert!(index < count, "part {index} of {count}");
        assert!(
            images.is_multiple_of(count),
            "{images} images per batch are not divisible by {count}"
        );
        LoaderPlan { part: (index, count), ..self }
    }

    /// Whether images are mixed.
    pub fn is_mixing(&self) -> bool {
        self.mixing != Mixing::default()
    }

    /// Whether pixels are replaced by the mean, which the loader must then be given.
    pub fn needs_mean(&self) -> bool {
        self.changes.erasing.is_some_and(|erasing| erasing.fill == EraseFill::Mean)
    }

    /// Rows that each image takes.
    pub fn views_per_image(&self) -> usize {
        match self.views {
            CropMode::One { .. } | CropMode::Resized { .. } => 1,
            CropMode::Ten => 10,
            CropMode::Nine => 9,
        }
    }

    /// Rows of the delivered part of a batch.
    pub fn own_rows(&self) -> usize {
        self.rows / self.part.1
    }

    /// Images in a full batch.
    pub fn images_per_batch(&self) -> usize {
        self.rows / self.views_per_image()
    }

    /// Batches in an epoch over `len` images; the last may be partial.
    pub fn batches(&self, len: usize) -> usize {
        len.div_ceil(self.images_per_batch())
    }

    /// The positions in an epoch over `len` images of the delivered part of a batch.
    pub(super) fn positions(&self, len: usize, batch: usize) -> Range<usize> {
        let (index, count) = self.part;
        let own = self.images_per_batch() / count;
        let first = len.min(batch * self.images_per_batch() + index * own);
        first..len.min(first + own)
    }

    /// The position of the image with which the first of the delivered part is mixed: the one
    /// before it, or the batch's last.
    pub(super) fn previous(&self, len: usize, batch: usize) -> usize {
        let start = batch * self.images_per_batch();
        let first = self.positions(len, batch).start;
        if first > start { first - 1 } else { len.min(start + self.images_per_batch()) - 1 }
    }

    /// The view in row `row` of an image. For a resized rectangle: the part of the mean image that
    /// is subtracted, its centre.
    pub(super) fn view(&self, epoch: u32, sample: u32, size: (usize, usize), row: usize) -> View {
        match self.views {
            CropMode::Ten => ten_crop(size, self.crop)[row],
            CropMode::Nine => nine_crop(size, self.crop)[row],
            CropMode::Resized { mirror, .. } => {
                let drawn = View::draw(self.seed, epoch, sample, size, self.crop);
                View { mirror: mirror && drawn.mirror, ..View::centre(size, self.crop) }
            }
            CropMode::One { random_place, mirror } => {
                let drawn = View::draw(self.seed, epoch, sample, size, self.crop);
                let centre = View::centre(size, self.crop);
                let place = if random_place { drawn } else { centre };
                View { mirror: mirror && drawn.mirror, ..place }
            }
        }
    }

    /// The rectangle of an image that is resized to the crop's size, with [`CropMode::Resized`].
    pub(super) fn rectangle(
        &self,
        epoch: u32,
        sample: u32,
        size: (usize, usize),
    ) -> Option<Rectangle> {
        match self.views {
            CropMode::Resized { crop, .. } => Some(crop.draw(self.seed, epoch, sample, size)),
            CropMode::One { .. } | CropMode::Ten | CropMode::Nine => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::Batch;
    use crate::{Fake, Loader, ReadBuffer, Shapes, Source};
    use augment::{Image, Jitter, Resizer};
    use std::sync::Arc;

    const CROP: (usize, usize) = (20, 24);

    fn resized() -> LoaderPlan {
        let views = CropMode::Resized { crop: ResizedCrop::default(), mirror: true };
        LoaderPlan { views, ..LoaderPlan::training(6, CROP, 7) }
    }

    fn batches(
        source: Arc<dyn Source>,
        plan: LoaderPlan,
        workers: usize,
        count: usize,
    ) -> Vec<Batch> {
        let mut loader = Loader::new(source, plan, workers, 0);
        (0..count).map(|_| loader.next_batch().unwrap().unwrap().clone()).collect()
    }

    #[test]
    fn a_resized_crop_has_the_pixels_of_its_rectangle() {
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
                // The centre of the mean image, and the same reflection as any other crop.
                let mirror = View::draw(7, batch.epoch, sample, size, CROP).mirror;
                assert_eq!(batch.views[row], [6, 4, u32::from(mirror)]);
                mirrored += u32::from(mirror);
            }
        }
        assert!((5..40).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn jitter_changes_only_the_colors_of_the_crop() {
        let jitter = Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        let source: Arc<dyn Source> = Arc::new(Shapes::train(Shapes::SEED, 32, 20));
        for plan in [resized(), LoaderPlan::training(6, CROP, 7)] {
            let plain = batches(source.clone(), plan, 1, 5);
            let changes = Changes { jitter: Some(jitter), ..Changes::default() };
            let with = batches(source.clone(), LoaderPlan { changes, ..plan }, 3, 5);
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
    fn nine_views_are_nine_rows_of_an_image() {
        let source = Fake::new(5, 24, 2);
        let plan = LoaderPlan::nine_views(20, (16, 16));
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
