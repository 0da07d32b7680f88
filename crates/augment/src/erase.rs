//! Random erasing (Zhong et al. 2017): torchvision's `RandomErasing`.

use crate::resized_crop::{Rectangle, between};
use random::{Purpose, Stream};

/// The distribution of erased rectangles.
///
/// The area is uniformly distributed, and the aspect ratio (height over width) uniformly in its
/// logarithm. A rectangle that does not fit is drawn again, up to ten times; then nothing is
/// erased, as in `torchvision.transforms.RandomErasing.get_params`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasing {
    /// The share of images that lose a rectangle.
    pub probability: f64,
    /// Minimum and maximum area, as fractions of the image's.
    pub area: [f64; 2],
    /// Minimum and maximum aspect ratio (height over width).
    pub aspect: [f64; 2],
    /// What replaces the pixels.
    pub fill: EraseFill,
}

/// What replaces erased pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EraseFill {
    /// The mean: zero after it is subtracted. torchvision's `value=0`.
    #[default]
    Mean,
    /// One colour.
    Color([u8; 3]),
    /// Random bytes.
    Noise,
}

impl Default for Erasing {
    /// torchvision's defaults, for all images.
    fn default() -> Erasing {
        Erasing { probability: 1.0, area: [0.02, 0.33], aspect: [0.3, 3.3], fill: EraseFill::Mean }
    }
}

impl Erasing {
    const TRIES: usize = 10;

    /// The rectangle that a sample loses in an epoch, in an image of `size` (height, width).
    ///
    /// # Panics
    /// If the image has 2^32 - 1 or more pixels in a row or column.
    pub fn draw(
        &self,
        seed: u64,
        epoch: u32,
        sample: u32,
        size: (usize, usize),
    ) -> Option<Rectangle> {
        let mut stream = Stream::new(seed, Purpose::Erase, epoch, sample);
        if f64::from(stream.unit()) >= self.probability {
            return None;
        }
        (0..Self::TRIES).find_map(|_| {
            let (area, aspect) = (stream.unit(), stream.unit());
            let (height, width) = self.sides(size, [area, aspect].map(f64::from));
            // Always drawn, so that a try does not depend on the size of another.
            let mut offset = |side: usize, part: usize| {
                let choices = u32::try_from(side.saturating_sub(part) + 1);
                stream.below(choices.expect("a side below 2^32 - 1 pixels")) as usize
            };
            let (top, left) = (offset(size.0, height), offset(size.1, width));
            let fits = height < size.0 && width < size.1;
            fits.then_some(Rectangle { top, left, height, width })
        })
    }

    /// Height and width of a rectangle in an image of `size`, for an area and an aspect ratio given
    /// as positions from 0 to 1 in their ranges.
    pub fn sides(&self, size: (usize, usize), [area, aspect]: [f64; 2]) -> (usize, usize) {
        let pixels = size.0 as f64 * size.1 as f64;
        let area = pixels * between(self.area, area);
        let aspect = between(self.aspect.map(f64::ln), aspect).exp();
        let rounded = |side: f64| side.round_ties_even() as usize; // as Python rounds
        (rounded((area * aspect).sqrt()), rounded((area / aspect).sqrt()))
    }

    /// Replaces the rectangle's pixels, unless the fill is the mean, which is not known here.
    /// Noise is drawn for a sample in an epoch.
    ///
    /// # Panics
    /// If the rectangle is outside of the image.
    pub fn fill(&self, pixels: &mut [u8], width: usize, hole: Rectangle, name: (u64, u32, u32)) {
        let (seed, epoch, sample) = name;
        let mut noise = Stream::new(seed, Purpose::EraseNoise, epoch, sample);
        let rows = pixels.chunks_exact_mut(width * 3).skip(hole.top).take(hole.height);
        for row in rows {
            let row = &mut row[hole.left * 3..(hole.left + hole.width) * 3];
            match self.fill {
                EraseFill::Mean => (),
                EraseFill::Color(color) => {
                    row.as_chunks_mut::<3>().0.fill(color);
                }
                EraseFill::Noise => {
                    for bytes in row.chunks_mut(4) {
                        bytes.copy_from_slice(&noise.next().to_le_bytes()[..bytes.len()]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
