//! Random brightness, contrast, saturation and hue: torchvision's `ColorJitter`.

use random::{Purpose, Stream};

/// The strength of each adjustment; zero disables it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jitter {
    /// The factor is drawn from `1 - b` (at least 0) to `1 + b`.
    pub brightness: f32,
    /// As for brightness.
    pub contrast: f32,
    /// As for brightness.
    pub saturation: f32,
    /// The rotation is drawn from `-h` to `h`, as a fraction of the colour circle.
    pub hue: f32,
}

/// An adjustment of an image's colours, as `torchvision.transforms.functional` defines it on
/// tensors of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adjustment {
    /// Multiplies each byte by the factor.
    Brightness(f32),
    /// Scales the difference from the image's mean grey by the factor.
    Contrast(f32),
    /// Scales the difference from each pixel's grey by the factor.
    Saturation(f32),
    /// Rotates the hue by this fraction of the colour circle.
    Hue(f32),
}

impl Jitter {
    /// The adjustments of a sample in an epoch, in the order in which they are applied.
    ///
    /// All are drawn whatever the strengths are, so that a strength does not affect other draws.
    pub fn draw(&self, seed: u64, epoch: u32, sample: u32) -> [Adjustment; 4] {
        let mut stream = Stream::new(seed, Purpose::Jitter, epoch, sample);
        let mut factor = |strength: f32| {
            let unit = stream.unit();
            let (low, high) = ((1.0 - strength).max(0.0), 1.0 + strength);
            low + (high - low) * unit
        };
        let mut drawn = [
            Adjustment::Brightness(factor(self.brightness)),
            Adjustment::Contrast(factor(self.contrast)),
            Adjustment::Saturation(factor(self.saturation)),
            Adjustment::Hue(stream.between(-self.hue, self.hue)),
        ];
        // Fisher-Yates shuffle: all 24 orders are equally likely.
        for last in (1..drawn.len()).rev() {
            drawn.swap(last, stream.below(last as u32 + 1) as usize);
        }
        drawn
    }
}

/// Applies adjustments in order, rounding to bytes after each as torchvision does. Neutral
/// adjustments are skipped.
pub fn adjust(pixels: &mut [u8], adjustments: &[Adjustment]) {
    for &adjustment in adjustments {
        match adjustment {
            Adjustment::Brightness(1.0) | Adjustment::Contrast(1.0) => (),
            Adjustment::Saturation(1.0) | Adjustment::Hue(0.0) => (),
            Adjustment::Brightness(factor) => brighten(pixels, factor.into()),
            Adjustment::Contrast(factor) => change_contrast(pixels, factor.into()),
            Adjustment::Saturation(factor) => saturate(pixels, factor.into()),
            Adjustment::Hue(rotation) => {
                let pixels = pixels.as_chunks_mut::<3>().0;
                pixels.iter_mut().for_each(|p| *p = rotate_hue(*p, rotation));
            }
        }
    }
}

/// Multiplies every byte by a factor: torchvision's `adjust_brightness`.
pub(crate) fn brighten(pixels: &mut [u8], factor: f64) {
    for_each_byte(pixels, &blended(factor, 0.0));
}

/// Scales the difference from the image's mean grey: torchvision's `adjust_contrast`.
pub(crate) fn change_contrast(pixels: &mut [u8], factor: f64) {
    let colors = pixels.as_chunks::<3>().0;
    let sum: u64 = colors.iter().map(|&pixel| u64::from(grey(pixel))).sum();
    let mean = (sum as f64 / colors.len().max(1) as f64) as f32;
    for_each_byte(pixels, &blended(factor, mean));
}

/// Scales the difference from each pixel's grey: torchvision's `adjust_saturation`.
pub(crate) fn saturate(pixels: &mut [u8], factor: f64) {
    let weights = weights_of(factor);
    for pixel in pixels.as_chunks_mut::<3>().0 {
        let grey = f32::from(grey(*pixel));
        *pixel = pixel.map(|byte| blend(byte, grey, weights));
    }
}

/// A pixel's grey level with the weights of ITU-R BT.601, rounded down.
pub(crate) fn grey([r, g, b]: [u8; 3]) -> u8 {
    (0.2989 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)) as u8
}

/// The weights of an image and of what it is blended with, each rounded to f32 as torchvision does.
pub(crate) fn weights_of(factor: f64) -> [f32; 2] {
    [factor as f32, (1.0 - factor) as f32]
}

/// A weighted mean of a byte and another value, rounded down.
pub(crate) fn blend(byte: u8, other: f32, [own, others]: [f32; 2]) -> u8 {
    (own * f32::from(byte) + others * other).clamp(0.0, 255.0) as u8
}

/// A table of [`blend`] for every byte.
fn blended(factor: f64, other: f32) -> [u8; 256] {
    std::array::from_fn(|byte| blend(byte as u8, other, weights_of(factor)))
}

fn for_each_byte(bytes: &mut [u8], table: &[u8; 256]) {
    for byte in bytes {
        *byte = table[usize::from(*byte)];
    }
}

/// Rotates the hue of a pixel by a fraction of the colour circle, through HSV.
fn rotate_hue(pixel: [u8; 3], rotation: f32) -> [u8; 3] {
    let [r, g, b] = pixel.map(|byte| f32::from(byte) / 255.0);
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let delta = max - min;
    let is_grey = max == min;
    let saturation = delta / if is_grey { 1.0 } else { max };
    let [red, green, blue] = [r, g, b].map(|c| (max - c) / if is_grey { 1.0 } else { delta });
    let sixths = if max == r {
        blue - green
    } else if max == g {
        2.0 + red - blue
    } else {
        4.0 + green - red
    };
    let hue = ((sixths / 6.0 + 1.0) % 1.0 + rotation).rem_euclid(1.0);

    let sector = (hue * 6.0).floor();
    let fraction = hue * 6.0 - sector;
    let p = (max * (1.0 - saturation)).clamp(0.0, 1.0);
    let q = (max * (1.0 - saturation * fraction)).clamp(0.0, 1.0);
    let t = (max * (1.0 - saturation * (1.0 - fraction))).clamp(0.0, 1.0);
    let color = match sector as u32 % 6 {
        0 => [max, t, p],
        1 => [q, max, p],
        2 => [p, max, t],
        3 => [p, q, max],
        4 => [t, p, max],
        _ => [max, p, q],
    };
    color.map(|c| (c * 255.999) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Eight pixels: grey, primaries and mixtures.
    const PIXELS: [u8; 24] = [
        0, 0, 0, 255, 255, 255, 120, 120, 120, 255, 0, 0, 0, 255, 10, 20, 30, 240, 200, 150, 90,
        13, 77, 121,
    ];

    fn adjusted(adjustment: Adjustment) -> Vec<u8> {
        let mut pixels = PIXELS;
        adjust(&mut pixels, &[adjustment]);
        pixels.to_vec()
    }

    /// Made by fixtures/with_torchvision.py with torchvision 0.29.2: the eight pixels, and FNV-1a
    /// of 18 x 18 x 18 colours.
    #[test]
    fn equal_to_torchvision_byte_for_byte() {
        use Adjustment::*;
        let recorded: [(Adjustment, [u8; 24], u64); 9] = [
            (
                Brightness(0.5),
                [
                    0, 0, 0, 127, 127, 127, 60, 60, 60, 127, 0, 0, 0, 127, 5, 10, 15, 120, 100, 75,
                    45, 6, 38, 60,
                ],
                0x4a1076b276fba271,
            ),
            (
                Brightness(1.25),
                [
                    0, 0, 0, 255, 255, 255, 150, 150, 150, 255, 0, 0, 0, 255, 12, 25, 37, 255, 250,
                    187, 112, 16, 96, 151,
                ],
                0xdfd76597d655ca69,
            ),
            (
                Contrast(0.5),
                [
                    54, 54, 54, 181, 181, 181, 114, 114, 114, 181, 54, 54, 54, 181, 59, 64, 69,
                    174, 154, 129, 99, 60, 92, 114,
                ],
                0x966f24d1d97c9a11,
            ),
            (
                Contrast(1.75),
                [
                    0, 0, 0, 255, 255, 255, 128, 128, 128, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255,
                    181, 76, 0, 53, 130,
                ],
                0x4d8095c09f85d271,
            ),
            (
                Saturation(0.25),
                [
                    0, 0, 0, 254, 254, 254, 119, 119, 119, 120, 57, 57, 112, 176, 115, 42, 45, 97,
                    168, 156, 141, 49, 65, 76,
                ],
                0x8fba92eed8e86bed,
            ),
            (
                Saturation(1.5),
                [
                    0, 0, 0, 255, 255, 255, 120, 120, 120, 255, 0, 0, 0, 255, 0, 5, 20, 255, 221,
                    146, 56, 0, 84, 150,
                ],
                0xb6a01671c8f689fb,
            ),
            (
                Hue(0.125),
                [
                    0, 0, 0, 255, 255, 255, 120, 120, 120, 255, 191, 0, 0, 255, 202, 175, 20, 240,
                    168, 200, 90, 30, 13, 121,
                ],
                0x0939713311f7377a,
            ),
            (
                Hue(-0.25),
                [
                    0, 0, 0, 255, 255, 255, 120, 120, 120, 127, 0, 255, 255, 138, 0, 20, 240, 120,
                    200, 90, 195, 23, 121, 13,
                ],
                0x2210102ae5e87aea,
            ),
            (
                Hue(0.5),
                [
                    0, 0, 0, 255, 255, 255, 120, 120, 120, 0, 255, 255, 255, 0, 245, 240, 230, 20,
                    90, 140, 200, 121, 57, 13,
                ],
                0x9b4c91e4daf20ba3,
            ),
        ];
        let steps = || (0..18).map(|step| step * 15u8);
        let colors =
            steps().flat_map(|r| steps().flat_map(move |g| steps().map(move |b| [r, g, b])));
        let grid = colors.collect::<Vec<_>>().into_flattened();
        for (adjustment, pixels, hash) in recorded {
            assert_eq!(adjusted(adjustment), pixels, "{adjustment:?}");
            let mut many = grid.clone();
            adjust(&mut many, &[adjustment]);
            let fnv = many.iter().fold(0xcbf29ce484222325u64, |value, &byte| {
                (value ^ u64::from(byte)).wrapping_mul(0x100000001b3)
            });
            assert_eq!(fnv, hash, "{adjustment:?}");
        }
    }

    #[test]
    fn neutral_adjustments_change_no_byte() {
        use Adjustment::*;
        for neutral in [Brightness(1.0), Contrast(1.0), Saturation(1.0), Hue(0.0)] {
            assert_eq!(adjusted(neutral), PIXELS);
        }
        assert!(Jitter::default().draw(1, 2, 3).iter().all(|&neutral| adjusted(neutral) == PIXELS));
    }

    #[test]
    fn extremes() {
        use Adjustment::*;
        assert_eq!(adjusted(Brightness(0.0)), [0; 24]);
        let flat = adjusted(Contrast(0.0));
        assert!(flat.iter().all(|&byte| byte == flat[0]), "{flat:?}");
        let grey = adjusted(Saturation(0.0));
        assert!(grey.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b), "{grey:?}");
        adjust(&mut [], &[Contrast(0.5), Hue(0.25)]); // must not divide by zero
    }

    #[test]
    fn all_orders_are_equally_likely() {
        let strengths = Jitter { brightness: 0.4, contrast: 0.3, saturation: 0.2, hue: 0.1 };
        let mut counts = std::collections::HashMap::new();
        for sample in 0..24_000 {
            let drawn = strengths.draw(1, 0, sample);
            for adjustment in drawn {
                let (value, low, high) = match adjustment {
                    Adjustment::Brightness(factor) => (factor, 0.6, 1.4),
                    Adjustment::Contrast(factor) => (factor, 0.7, 1.3),
                    Adjustment::Saturation(factor) => (factor, 0.8, 1.2),
                    Adjustment::Hue(rotation) => (rotation, -0.1, 0.1),
                };
                assert!((low..=high).contains(&value), "{adjustment:?}");
            }
            *counts.entry(drawn.map(|a| std::mem::discriminant(&a))).or_insert(0u32) += 1;
        }
        // Binomial standard deviation 31; five of them.
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| count.abs_diff(1000) < 155), "{counts:?}");
    }

    #[test]
    fn draws_depend_on_seed_epoch_and_sample_and_strengths_are_independent() {
        let strong = Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        assert_eq!(strong.draw(1, 2, 3), strong.draw(1, 2, 3));
        for (seed, epoch, sample) in [(2, 2, 3), (1, 3, 3), (1, 2, 4)] {
            assert_ne!(strong.draw(1, 2, 3), strong.draw(seed, epoch, sample));
        }
        let without_hue = Jitter { hue: 0.0, ..strong }.draw(1, 2, 3);
        for (with, without) in strong.draw(1, 2, 3).into_iter().zip(without_hue) {
            assert!(with == without || without == Adjustment::Hue(0.0), "{with:?} {without:?}");
        }
    }

    proptest! {
        /// Two rotations by half a circle cancel, up to rounding.
        #[test]
        fn two_half_rotations_cancel(pixel: [u8; 3]) {
            let back = rotate_hue(rotate_hue(pixel, 0.5), 0.5);
            for (before, after) in pixel.into_iter().zip(back) {
                prop_assert!(before.abs_diff(after) <= 3, "{:?} {:?}", pixel, back);
            }
        }

        /// A rotation keeps the largest and the smallest channel.
        #[test]
        fn a_rotation_keeps_value_and_saturation(pixel: [u8; 3], rotation in -0.5f32..0.5) {
            let after = rotate_hue(pixel, rotation);
            let most = |p: [u8; 3]| *p.iter().max().unwrap();
            let least = |p: [u8; 3]| *p.iter().min().unwrap();
            for extreme in [most, least] {
                prop_assert!(extreme(pixel).abs_diff(extreme(after)) <= 1);
            }
        }
    }
}
