//! Which images a loader delivers, in which order, seen how.

use augment::{View, ten_crop};
use random::Permutation;

/// Which images come, in which order, seen how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Rows of a batch. With ten views an image takes ten rows.
    pub rows: usize,
    /// Height and width of what the network sees.
    pub crop: (usize, usize),
    /// The seed of order and views.
    pub seed: u64,
    /// Training or testing.
    pub pass: Pass,
    /// How each image is seen.
    pub views: Views,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Views {
    /// One view; place and reflection are drawn anew each epoch where asked for, else centred and
    /// plain.
    One {
        /// Crop anywhere.
        random_place: bool,
        /// Mirror every other image.
        mirror: bool,
    },
    /// Four corners and the centre, and their reflections: ten rows, one after another.
    Ten,
}

impl Plan {
    /// Training: random places, mirrored half the time.
    pub fn training(rows: usize, crop: (usize, usize), seed: u64) -> Plan {
        let views = Views::One { random_place: true, mirror: true };
        Plan { rows, crop, seed, pass: Pass::Training, views }
    }

    /// Testing on the centre of each image.
    pub fn testing(rows: usize, crop: (usize, usize)) -> Plan {
        let views = Views::One { random_place: false, mirror: false };
        Plan { rows, crop, seed: 0, pass: Pass::Testing, views }
    }

    /// Testing on ten views of each image.
    pub fn ten_views(rows: usize, crop: (usize, usize)) -> Plan {
        Plan { views: Views::Ten, ..Plan::testing(rows, crop) }
    }

    /// Rows that each image takes.
    pub fn views_per_image(&self) -> usize {
        match self.views {
            Views::One { .. } => 1,
            Views::Ten => 10,
        }
    }

    /// Images in a full batch.
    pub fn images_per_batch(&self) -> usize {
        self.rows / self.views_per_image()
    }

    /// Batches in an epoch over `len` images; the last may be short.
    pub fn batches(&self, len: usize) -> usize {
        len.div_ceil(self.images_per_batch())
    }

    /// The images of a batch, in order.
    pub(super) fn samples(
        &self,
        len: usize,
        epoch: u32,
        batch: usize,
    ) -> impl ExactSizeIterator<Item = usize> + use<> {
        let first = batch * self.images_per_batch();
        let positions = first..len.min(first + self.images_per_batch());
        let (pass, order) = (self.pass, Permutation::new(self.seed, epoch, len as u64));
        positions.map(move |position| match pass {
            Pass::Testing => position,
            Pass::Training => order.at(position as u64) as usize,
        })
    }

    /// The view in row `row` of those that an image takes.
    pub(super) fn view(&self, epoch: u32, sample: u32, size: (usize, usize), row: usize) -> View {
        match self.views {
            Views::Ten => ten_crop(size, self.crop)[row],
            Views::One { random_place, mirror } => {
                let drawn = View::draw(self.seed, epoch, sample, size, self.crop);
                let centre = View::centre(size, self.crop);
                let place = if random_place { drawn } else { centre };
                View { mirror: mirror && drawn.mirror, ..place }
            }
        }
    }
}
