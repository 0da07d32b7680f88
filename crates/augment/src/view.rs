//! Positions of crops.

use random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// The position of a crop, and whether it is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Whether it is mirrored about its vertical axis.
    pub mirror: bool,
}

impl View {
    /// The centre view, not mirrored. If the margin is odd, it is one pixel wider at the right and
    /// the bottom.
    ///
    /// # Panics
    /// If the crop (height, width) is larger than the image (height, width).
    pub fn centre(image: (usize, usize), crop: (usize, usize)) -> View {
        let (down, right) = margins(image, crop);
        View { top: down / 2, left: right / 2, mirror: false }
    }

    /// The training view of a sample in an epoch: uniformly distributed, mirrored half the time.
    ///
    /// Offsets are from 0 to the margin inclusive, as in the 2012 source: 33 x 33 x 2 views of a
    /// 224 crop of 256 pixels, where the paper's section 4.1 counts 32 x 32 x 2. Each image has its
    /// own view; the source used one for 32 consecutive images, to save time.
    ///
    /// # Panics
    /// If the crop (height, width) is larger than the image (height, width).
    pub fn draw(
        seed: u64,
        epoch: u32,
        sample: u32,
        image: (usize, usize),
        crop: (usize, usize),
    ) -> View {
        let (down, right) = margins(image, crop);
        let mut stream = Stream::new(seed, Purpose::Crop, epoch, sample);
        let mut offset = |margin: usize| {
            let choices = u32::try_from(margin + 1).expect("a margin below 2^32 - 1");
            stream.below(choices) as usize
        };
        View { top: offset(down), left: offset(right), mirror: stream.coin() }
    }

    /// A view as [`draw`](Self::draw) makes them, from any generator of
    /// [`rand`](https://docs.rs/rand).
    ///
    /// # Panics
    /// If the crop (height, width) is larger than the image (height, width).
    #[cfg(feature = "rand")]
    pub fn sample<R: rand_core::Rng + ?Sized>(
        rng: &mut R,
        image: (usize, usize),
        crop: (usize, usize),
    ) -> View {
        let (down, right) = margins(image, crop);
        let mut offset = |margin: usize| {
            let choices = u32::try_from(margin + 1).expect("a margin below 2^32 - 1");
            ((u64::from(rng.next_u32()) * u64::from(choices)) >> 32) as usize
        };
        View { top: offset(down), left: offset(right), mirror: rng.next_u32() >> 31 == 1 }
    }
}

/// The ten views of the paper's section 4.1, in the source's order: top left, top right, centre,
/// bottom left, bottom right, and the same five mirrored.
///
/// # Panics
/// If the crop (height, width) is larger than the image (height, width).
pub fn ten_crop(image: (usize, usize), crop: (usize, usize)) -> [View; 10] {
    let (down, right) = margins(image, crop);
    let centre = View::centre(image, crop);
    let positions = [(0, 0), (0, right), (centre.top, centre.left), (down, 0), (down, right)];
    std::array::from_fn(|view| {
        let (top, left) = positions[view % 5];
        View { top, left, mirror: view >= 5 }
    })
}

/// The nine views on which the 2012 source tests CIFAR networks: a grid of three by three from
/// corner to corner, row by row, not mirrored.
///
/// # Panics
/// If the crop (height, width) is larger than the image (height, width).
pub fn nine_crop(image: (usize, usize), crop: (usize, usize)) -> [View; 9] {
    let (down, right) = margins(image, crop);
    let centre = View::centre(image, crop);
    let (tops, lefts) = ([0, centre.top, down], [0, centre.left, right]);
    std::array::from_fn(|view| View { top: tops[view / 3], left: lefts[view % 3], mirror: false })
}

/// The differences in height and width between image and crop.
fn margins(image: (usize, usize), crop: (usize, usize)) -> (usize, usize) {
    let fits = crop.0 <= image.0 && crop.1 <= image.1;
    assert!(fits, "a crop of {crop:?} pixels does not fit an image of {image:?}");
    (image.0 - crop.0, image.1 - crop.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream is a generator, too, and gives the view of its name.
    #[cfg(feature = "rand")]
    #[test]
    fn any_generator_gives_the_views_of_its_draws() {
        for sample in 0..50 {
            let mut stream = Stream::new(7, Purpose::Crop, 3, sample);
            let sampled = View::sample(&mut stream, (40, 50), (30, 20));
            assert_eq!(sampled, View::draw(7, 3, sample, (40, 50), (30, 20)));
        }
    }

    #[test]
    fn ten_views_in_the_order_of_the_source() {
        let places = ten_crop((256, 256), (224, 224)).map(|v| (v.top, v.left, v.mirror));
        let plain = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)];
        for (view, &(top, left)) in plain.iter().enumerate() {
            assert_eq!(places[view], (top, left, false));
            assert_eq!(places[view + 5], (top, left, true));
        }
    }

    /// cuda-convnet's start positions for a border of four pixels: 0, 4 and 8, rows first.
    #[test]
    fn nine_views_in_the_order_of_the_source() {
        let places = nine_crop((32, 32), (24, 24)).map(|v| (v.top, v.left));
        let rows = [0, 4, 8];
        let expected: Vec<_> = rows.iter().flat_map(|&y| rows.map(|x| (y, x))).collect();
        assert_eq!(places[..], expected);
        assert!(nine_crop((32, 32), (24, 24)).iter().all(|view| !view.mirror));
        let places = nine_crop((9, 8), (4, 8)).map(|v| (v.top, v.left));
        assert_eq!((places[0], places[5], places[8]), ((0, 0), (2, 0), (5, 0)));
    }

    #[test]
    fn the_centre_of_an_odd_margin() {
        assert_eq!(View::centre((256, 9), (227, 4)), View { top: 14, left: 2, mirror: false });
        assert_eq!(View::centre((8, 8), (8, 8)), View { top: 0, left: 0, mirror: false });
    }

    #[test]
    fn every_view_is_equally_likely() {
        let (image, crop) = ((5, 7), (3, 4)); // 3 x 4 positions, mirrored or not: 24 views
        let mut counts = std::collections::HashMap::new();
        for sample in 0..24_000 {
            *counts.entry(View::draw(1, 0, sample, image, crop)).or_insert(0u32) += 1;
        }
        // Binomial standard deviation 31; five of them.
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| count.abs_diff(1000) < 155), "{counts:?}");
        assert!(counts.keys().all(|v| v.top + 3 <= 5 && v.left + 4 <= 7));
    }

    #[test]
    fn a_view_depends_on_seed_epoch_and_sample() {
        let draws = |seed, epoch, first: u32| -> Vec<View> {
            (first..first + 8).map(|s| View::draw(seed, epoch, s, (40, 40), (20, 20))).collect()
        };
        assert_eq!(draws(1, 2, 3), draws(1, 2, 3));
        assert_ne!(draws(1, 2, 3), draws(2, 2, 3));
        assert_ne!(draws(1, 2, 3), draws(1, 3, 3));
        assert_ne!(draws(1, 2, 3), draws(1, 2, 4));
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_crop_larger_than_its_image() {
        View::centre((10, 20), (11, 20));
    }
}
