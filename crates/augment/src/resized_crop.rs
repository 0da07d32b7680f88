//! A random rectangle of random size and aspect ratio: torchvision's `RandomResizedCrop`.

use random::{Purpose, Stream};

/// A rectangle in an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rectangle {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Rectangle {
    /// The whole of an image of `size` (height, width).
    pub fn whole(size: (usize, usize)) -> Rectangle {
        Rectangle { top: 0, left: 0, height: size.0, width: size.1 }
    }
}

/// The distribution of random resized crops.
///
/// The area is uniformly distributed, and the aspect ratio (width over height) uniformly in its
/// logarithm. If the rectangle does not fit the image, both are drawn again, up to ten times.
/// After that, the largest centred rectangle with an allowed aspect ratio is taken, as in
/// `torchvision.transforms.RandomResizedCrop.get_params`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResizedCrop {
    /// Minimum and maximum area, as fractions of the image's.
    pub area: [f64; 2],
    /// Minimum and maximum aspect ratio (width over height).
    pub aspect: [f64; 2],
}

impl Default for ResizedCrop {
    /// torchvision's defaults: areas from 8 % to 100 %, aspect ratios from 3:4 to 4:3.
    fn default() -> ResizedCrop {
        ResizedCrop { area: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

impl ResizedCrop {
    const TRIES: usize = 10;

    /// The rectangle of a sample in an epoch, in an image of `size` (height, width).
    ///
    /// # Panics
    /// If the image has no pixels, or 2^32 - 1 or more in a row or column.
    pub fn draw(&self, seed: u64, epoch: u32, sample: u32, size: (usize, usize)) -> Rectangle {
        assert!(size.0 > 0 && size.1 > 0, "an image of {size:?} pixels");
        let mut stream = Stream::new(seed, Purpose::Resized, epoch, sample);
        let pixels = size.0 as f64 * size.1 as f64;
        let [low, high] = self.aspect.map(f64::ln);
        for _ in 0..Self::TRIES {
            let area = pixels * between(self.area, stream.unit().into());
            let aspect = between([low, high], stream.unit().into()).exp();
            let height = (area / aspect).sqrt().round_ties_even() as usize; // as Python rounds
            let width = (area * aspect).sqrt().round_ties_even() as usize;
            if (1..=size.0).contains(&height) && (1..=size.1).contains(&width) {
                let mut offset = |margin: usize| {
                    let choices = u32::try_from(margin + 1).expect("a side below 2^32 - 1 pixels");
                    stream.below(choices) as usize
                };
                let (top, left) = (offset(size.0 - height), offset(size.1 - width));
                return Rectangle { top, left, height, width };
            }
        }
        self.centre(size)
    }

    /// The largest centred rectangle with an allowed aspect ratio.
    fn centre(&self, size: (usize, usize)) -> Rectangle {
        let [min, max] = self.aspect;
        let aspect = size.1 as f64 / size.0 as f64;
        let rounded = |side: f64, limit: usize| (side.round_ties_even() as usize).clamp(1, limit);
        let (height, width) = if aspect < min {
            (rounded(size.1 as f64 / min, size.0), size.1)
        } else if aspect > max {
            (size.0, rounded(size.0 as f64 * max, size.1))
        } else {
            size
        };
        Rectangle { top: (size.0 - height) / 2, left: (size.1 - width) / 2, height, width }
    }
}

/// The number at a position from 0 to 1 between two.
pub(crate) fn between([low, high]: [f64; 2], position: f64) -> f64 {
    low + (high - low) * position
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With fixed area and aspect ratio, only the position is random. By hand: a quarter of 40 x 90
    /// is 900 pixels; at 1:1 a square of 30, at 4:1 15 x 60, at 1:4 60 rows do not fit.
    #[test]
    fn one_area_and_one_shape() {
        let draw = |aspect: f64, sample| {
            let crop = ResizedCrop { area: [0.25; 2], aspect: [aspect; 2] };
            crop.draw(1, 2, sample, (40, 90))
        };
        let mut tops = std::collections::BTreeSet::new();
        for sample in 0..200 {
            let square = draw(1.0, sample);
            assert_eq!((square.height, square.width), (30, 30));
            assert!(square.left <= 60);
            tops.insert(square.top);
            let strip = draw(4.0, sample);
            assert_eq!((strip.height, strip.width), (15, 60));
        }
        assert_eq!(tops, (0..=10).collect());
        // Does not fit: the centre, all 40 rows and a quarter as many columns.
        let fallback = Rectangle { top: 0, left: 40, height: 40, width: 10 };
        assert_eq!(draw(0.25, 0), fallback);
    }

    /// Made by fixtures/with_torchvision.py: torchvision 0.29.2's `get_params` for `scale=(9, 9)`.
    #[test]
    fn the_fallback_is_torchvisions() {
        let crop = ResizedCrop { area: [9.0; 2], ..ResizedCrop::default() };
        for (size, expected) in [
            ((100, 100), (0, 0, 100, 100)),
            ((100, 200), (0, 33, 100, 133)),
            ((200, 90), (40, 0, 120, 90)),
            ((3, 50), (0, 23, 3, 4)),
            ((50, 1), (24, 0, 1, 1)),
            ((1, 1), (0, 0, 1, 1)),
            ((6, 8), (0, 0, 6, 8)),
        ] {
            let (top, left, height, width) = expected;
            let expected = Rectangle { top, left, height, width };
            assert_eq!(crop.draw(3, 1, 4, size), expected, "{size:?}");
        }
    }

    #[test]
    fn areas_and_aspect_ratios_are_distributed_as_specified() {
        let n = 20_000;
        let (mut areas, mut shapes, mut above) = (0.0, 0.0, 0);
        for sample in 0..n {
            let part = ResizedCrop::default().draw(1, 0, sample, (1000, 1000));
            let area = (part.height * part.width) as f64 / 1e6;
            let shape = part.width as f64 / part.height as f64;
            assert!((0.079..=1.0).contains(&area) && (0.745..1.34).contains(&shape), "{part:?}");
            areas += area;
            shapes += shape.ln();
            above += u32::from(shape > 1.0);
        }
        let n = f64::from(n);
        // Uniform over 0.08..1, the mean would be 0.54; large and long rectangles do not fit and
        // are drawn again (torchvision 0.29.2: 0.479, the mean of 200,000 draws).
        assert!((areas / n - 0.479).abs() < 0.01, "{}", areas / n);
        // Standard errors: 0.16 / sqrt(n) = 0.0012 and 0.5 / sqrt(n) = 0.0035; five of each.
        assert!((shapes / n).abs() < 0.006, "{}", shapes / n);
        assert!((f64::from(above) / n - 0.5).abs() < 0.018, "{above}");
    }

    #[test]
    fn a_rectangle_depends_on_seed_epoch_and_sample() {
        let crop = ResizedCrop::default();
        let draw = |seed, epoch, sample| crop.draw(seed, epoch, sample, (200, 300));
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(draw(1, 2, 3), other);
        }
    }

    proptest! {
        #[test]
        fn a_rectangle_is_inside_the_image(
            size in (1usize..300, 1usize..300),
            area in (0.0f64..2.0, 0.0f64..2.0),
            aspect in (0.01f64..20.0, 0.01f64..20.0),
            sample: u32,
        ) {
            let crop = ResizedCrop { area: area.into(), aspect: aspect.into() };
            let part = crop.draw(1, 2, sample, size);
            prop_assert!(part.height > 0 && part.top + part.height <= size.0, "{:?}", part);
            prop_assert!(part.width > 0 && part.left + part.width <= size.1, "{:?}", part);
        }
    }
}
