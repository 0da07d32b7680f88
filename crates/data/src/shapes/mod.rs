//! Generated images of ten kinds of shape, for training without a download.

mod outline;
mod scene;

use crate::{ReadBuffer, Result, Source};
use outline::Outline;
use scene::Scene;

/// The ten classes, in the order of their labels.
pub const CLASSES: [&str; 10] =
    ["disc", "ring", "square", "triangle", "star", "cross", "moon", "bars", "checker", "dots"];

/// Ten kinds of shape in random colours, sizes, positions and rotations, on noisy, textured
/// backgrounds with strokes of other colours. An image is drawn anew by each
/// [`read`](Source::read), from (seed, index) alone and with arithmetic that is bit-identical on
/// every processor.
///
/// A network must learn outlines: a shape is lighter than its background, but has any colour,
/// position and rotation, so that a single pixel is hardly informative. A linear classifier on the
/// pixels, trained on 12,800 images of 32 x 32, has an error rate of 65 % (chance: 90 %), which a
/// test checks. A small convolutional network has less than 2 % after five epochs.
#[derive(Clone, Debug)]
pub struct Shapes {
    classes: Vec<String>,
    seed: u64,
    side: usize,
    first: u32,
    len: u32,
}

impl Shapes {
    /// The default number of training images.
    pub const TRAIN: u32 = 12_800;
    /// The default number of test images.
    pub const TEST: u32 = 2_560;
    /// The default seed; it does not depend on the seed of a run.
    pub const SEED: u64 = 2012;

    /// `len` training images of `side` x `side` pixels.
    ///
    /// # Panics
    /// If `side` is below 16, where shapes are indistinguishable, or `len` exceeds 2^31.
    pub fn train(seed: u64, side: usize, len: u32) -> Shapes {
        Shapes::starting_at(0, seed, side, len)
    }

    /// `len` test images. Their indices start at 2^31, so that they differ from all training
    /// images.
    ///
    /// # Panics
    /// As [`train`](Self::train).
    pub fn test(seed: u64, side: usize, len: u32) -> Shapes {
        Shapes::starting_at(1 << 31, seed, side, len)
    }

    fn starting_at(first: u32, seed: u64, side: usize, len: u32) -> Shapes {
        assert!(side >= 16, "shapes of {side} pixels are indistinguishable: the minimum is 16");
        assert!(len <= 1 << 31, "{len} images: the maximum is 2^31");
        Shapes { classes: CLASSES.map(String::from).to_vec(), seed, side, first, len }
    }
}

impl Source for Shapes {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    fn label(&self, index: usize) -> u32 {
        assert!(index < self.len(), "image {index} of {}", self.len);
        (index % CLASSES.len()) as u32
    }

    fn name(&self, index: usize) -> String {
        format!("{} {index}", CLASSES[self.label(index) as usize])
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let outline = Outline::ALL[self.label(index) as usize];
        let scene = Scene::draw(self.seed, self.first + index as u32, outline);
        buffer.image.reshape(self.side, self.side);
        scene.paint(self.side, &mut buffer.row, &mut buffer.image.pixels);
        Ok(&buffer.image.pixels)
    }
}

#[cfg(test)]
mod tests;
