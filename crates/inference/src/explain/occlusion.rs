//! Occlusion: how much a class depends on each part of an image.

use super::HeatMap;
use crate::{Model, Predictor, Result, Views};
use augment::Image;
use data::IGNORED;
use evaluate::Evaluate;

/// The squares that cover parts of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occlusion {
    /// Side of the square in pixels; at most that of the image counts.
    pub side: usize,
    /// Distance between squares in pixels.
    pub stride: usize,
}

impl Occlusion {
    /// Squares of about a seventh of an image's shorter side, overlapping by half.
    pub fn of((height, width): (usize, usize)) -> Occlusion {
        let side = (height.min(width) / 7).max(1);
        Occlusion { side, stride: (side / 2).max(1) }
    }

    /// The first pixels of the squares along a side of an image; the last square ends with it.
    fn along(self, extent: usize) -> Vec<usize> {
        let last = extent - self.side.min(extent);
        let mut places: Vec<usize> = (0..last).step_by(self.stride.max(1)).collect();
        places.push(last);
        places
    }
}

/// How much less probable `class` is where a square of the mean colour covers a
/// [square](Model::square) image's centre crop: at each pixel the mean over the squares that cover
/// it, of p(class) of the image less p(class) of the covered image. `watch` receives the numbers of
/// squares done and in total, and returns whether to go on; `None` if it returns false.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If there is no such class.
pub fn occlusion(
    predictor: &mut Predictor,
    model: &Model,
    square: &Image,
    class: usize,
    Occlusion { side, stride }: Occlusion,
    watch: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<HeatMap>> {
    let squares = Occlusion { side: side.max(1), stride };
    let (height, width) = model.crop();
    let (rows, classes) = (predictor.batch_shape().images, predictor.batch_shape().classes);
    let (down, across) = (squares.along(height), squares.along(width));
    let places: Vec<(usize, usize)> =
        down.iter().flat_map(|&top| across.iter().map(move |&left| (top, left))).collect();
    let color = mean_color(model);
    let mut probabilities = vec![0.0f32; rows * classes];
    let mut whole = model.batch(&[square], Views::Centre, rows);
    predictor.test(&mut whole)?;
    predictor.probabilities(&mut probabilities)?;
    let uncovered = probabilities[class];
    let (mut sums, mut counts) = (vec![0.0f64; height * width], vec![0u32; height * width]);
    for (done, covered) in places.chunks(rows).enumerate() {
        if !watch(done * rows, places.len()) {
            return Ok(None);
        }
        let mut batch = model.batch(&vec![square; covered.len()], Views::Centre, rows);
        let pixels = |(top, left): (usize, usize)| {
            let (bottom, right) =
                ((top + squares.side).min(height), (left + squares.side).min(width));
            (top..bottom).flat_map(move |y| (left..right).map(move |x| y * width + x))
        };
        for (row, &place) in covered.iter().enumerate() {
            let image = &mut batch.pixels[row * height * width * 3..][..height * width * 3];
            pixels(place).for_each(|at| image[at * 3..at * 3 + 3].copy_from_slice(&color));
        }
        debug_assert!(batch.labels[..covered.len()].iter().all(|&label| label != IGNORED));
        predictor.test(&mut batch)?;
        predictor.probabilities(&mut probabilities)?;
        for (row, &place) in covered.iter().enumerate() {
            let less = f64::from(uncovered - probabilities[row * classes + class]);
            pixels(place).for_each(|at| {
                sums[at] += less;
                counts[at] += 1;
            });
        }
    }
    watch(places.len(), places.len());
    let mean = |(sum, count): (f64, u32)| (sum / f64::from(count.max(1))) as f32;
    let values = sums.into_iter().zip(counts).map(mean).collect();
    Ok(Some(HeatMap { height, width, values }))
}

/// The colour that the network's input is relative to, rounded.
fn mean_color(model: &Model) -> [u8; 3] {
    let pixels = model.weights.mean.values.as_chunks::<3>().0;
    let mean = |channel: usize| {
        let sum: f64 = pixels.iter().map(|pixel| f64::from(pixel[channel])).sum();
        (sum / pixels.len().max(1) as f64).round().clamp(0.0, 255.0) as u8
    };
    [0, 1, 2].map(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_reach_the_edge() {
        let along = |side, stride, extent| Occlusion { side, stride }.along(extent);
        assert_eq!(along(3, 2, 8), [0, 2, 4, 5]);
        assert_eq!(along(4, 4, 8), [0, 4]);
        assert_eq!(along(9, 1, 8), [0]);
        assert_eq!(Occlusion::of((227, 300)), Occlusion { side: 32, stride: 16 });
        assert_eq!(Occlusion::of((3, 3)), Occlusion { side: 1, stride: 1 });
    }
}
