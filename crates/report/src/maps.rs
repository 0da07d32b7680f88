//! Feature maps of an image side by side, in shades of grey.

use png::{BitDepth, ColorType, Compression};

/// A layer's output for one image.
#[derive(Clone, Copy, Debug)]
pub struct Maps<'a> {
    /// height x width x channels values, channels last.
    pub values: &'a [f32],
    /// Rows of a map.
    pub height: usize,
    /// Columns of a map.
    pub width: usize,
    /// Number of maps.
    pub channels: usize,
}

/// A grid of maps: the first pixel of map `n` is `GAP + n % columns * (width + GAP)` pixels from
/// the left and `GAP + n / columns * (height + GAP)` from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// Maps in a row.
    pub columns: usize,
    /// height x width shades of grey.
    pub pixels: Vec<u8>,
}

/// Pixels around each map.
pub const GAP: usize = 1;
/// Background grey.
const GROUND: u8 = 96;

impl Maps<'_> {
    /// The largest value of each map.
    ///
    /// # Panics
    /// If the number of values does not match the sizes, or there are none.
    pub fn largest(&self) -> Vec<f32> {
        self.check();
        let mut largest = vec![f32::NEG_INFINITY; self.channels];
        for pixel in self.values.chunks_exact(self.channels) {
            largest.iter_mut().zip(pixel).for_each(|(max, &x)| *max = max.max(x));
        }
        largest
    }

    /// Draws the maps. Black is zero (or the smallest value, if negative), white the largest value
    /// of all maps, so that maps are comparable. Shades follow the square root, as most values are
    /// small. NaN is black.
    ///
    /// # Panics
    /// As [`largest`](Self::largest).
    pub fn draw(&self) -> Grid {
        self.check();
        let Maps { height, width, channels, .. } = *self;
        let columns = columns(channels);
        let rows = channels.div_ceil(columns);
        let (down, right) = (height + GAP, width + GAP);
        let (full_height, full_width) = (GAP + rows * down, GAP + columns * right);
        let mut pixels = vec![GROUND; full_height * full_width];
        let finite = || self.values.iter().copied().filter(|x| x.is_finite());
        let least = finite().fold(0.0f32, f32::min);
        let span = (finite().fold(0.0f32, f32::max) - least).max(f32::MIN_POSITIVE);
        for (place, pixel) in self.values.chunks_exact(channels).enumerate() {
            let (y, x) = (place / width, place % width);
            for (map, value) in pixel.iter().enumerate() {
                let top = GAP + map / columns * down + y;
                let left = GAP + map % columns * right + x;
                let share = ((value - least) / span).clamp(0.0, 1.0);
                pixels[top * full_width + left] = (255.0 * share.sqrt()).round() as u8;
            }
        }
        Grid { height: full_height, width: full_width, columns, pixels }
    }

    fn check(&self) {
        let Maps { values, height, width, channels } = *self;
        let fits = channels > 0 && !values.is_empty() && values.len() == height * width * channels;
        assert!(fits, "{} values in {channels} maps of {height} x {width}", values.len());
    }
}

/// The number of columns: near a square, with full rows if possible: 96 maps are 8 rows of 12, 384
/// are 16 rows of 24.
fn columns(channels: usize) -> usize {
    let least = (channels as f64).sqrt().ceil() as usize;
    (least..=2 * least).find(|&columns| channels.is_multiple_of(columns)).unwrap_or(least)
}

impl Grid {
    /// The grid as a PNG file.
    pub fn to_png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::Fast);
        let mut writer = encoder.write_header().expect("sizes below 2^31");
        writer.write_image_data(&self.pixels).expect("the number of bytes matches the size");
        writer.finish().expect("writing to a Vec does not fail");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_near_a_square_with_full_rows() {
        for (channels, expected) in [(1, 1), (32, 8), (64, 8), (96, 12), (256, 16), (384, 24)] {
            assert_eq!(columns(channels), expected, "{channels}");
        }
        assert_eq!(columns(13), 4, "a prime: the last row is not full");
    }

    #[test]
    fn each_value_is_a_pixel_of_its_map_on_one_scale() {
        // Two maps of 1 x 2 pixels, channels last.
        let values = [0.0, 4.0, 1.0, f32::NAN];
        let maps = Maps { values: &values, height: 1, width: 2, channels: 2 };
        assert_eq!(maps.largest(), [1.0, 4.0]);
        let grid = maps.draw();
        assert_eq!((grid.height, grid.width, grid.columns), (3, 7, 2));
        let middle = &grid.pixels[7..14];
        assert_eq!(middle, [GROUND, 0, 128, GROUND, 255, 0, GROUND]);
        let mut back = augment::Image::default();
        data::decode::decode(&grid.to_png(), &mut back).unwrap();
        assert_eq!((back.height, back.width, back.pixel(1, 4)), (3, 7, [255; 3]));
    }

    #[test]
    fn negative_values_and_all_zeros_are_drawn() {
        let draw = |values: &[f32]| {
            Maps { values, height: 1, width: values.len(), channels: 1 }.draw().pixels
        };
        assert_eq!(draw(&[-1.0, 3.0, 0.0])[6..9], [0, 255, 128]);
        assert_eq!(draw(&[0.0, 0.0])[5..7], [0, 0]);
    }
}
