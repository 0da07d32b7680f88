//! An image in memory, crops and reflections.

use crate::View;

/// An image of 8-bit RGB pixels. Its buffer keeps its capacity when the size changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// `height * width * 3` bytes, row by row: red, green, blue.
    pub pixels: Vec<u8>,
}

impl Image {
    /// An image of one colour.
    pub fn filled(height: usize, width: usize, color: [u8; 3]) -> Image {
        Image { height, width, pixels: color.repeat(height * width) }
    }

    /// Changes the size; the pixels are then unspecified.
    pub fn reshape(&mut self, height: usize, width: usize) {
        (self.height, self.width) = (height, width);
        self.pixels.resize(height * width * 3, 0);
    }

    /// The part of the image that a view of `size` (height, width) shows, mirrored if the view is.
    ///
    /// # Panics
    /// If the view exceeds the image.
    pub fn crop(&self, view: View, size: (usize, usize)) -> Image {
        let mut part = Image::filled(size.0, size.1, [0; 3]);
        crop(&self.pixels, self.width, view.top, view.left, size, &mut part.pixels);
        if view.mirror && !part.pixels.is_empty() {
            mirror(&mut part.pixels, size.1);
        }
        part
    }

    /// The pixel in row `y` and column `x`.
    ///
    /// # Panics
    /// If it is outside the image.
    pub fn pixel(&self, y: usize, x: usize) -> [u8; 3] {
        assert!(y < self.height && x < self.width, "no pixel ({y}, {x})");
        let start = (y * self.width + x) * 3;
        [self.pixels[start], self.pixels[start + 1], self.pixels[start + 2]]
    }
}

/// Copies a window of an image: `size` is its height and width, `top` and `left` its first row and
/// column.
///
/// # Panics
/// If the window exceeds the image, or `into` does not have the window's size.
pub fn crop(
    pixels: &[u8],
    width: usize,
    top: usize,
    left: usize,
    size: (usize, usize),
    into: &mut [u8],
) {
    let (rows, columns) = size;
    assert!(left + columns <= width, "columns {left}..{} of {width}", left + columns);
    assert!((top + rows) * width * 3 <= pixels.len(), "row {} is outside", top + rows);
    assert_eq!(into.len(), rows * columns * 3, "a window of {rows} x {columns} pixels");
    if into.is_empty() {
        return;
    }
    let source = pixels[top * width * 3..].chunks_exact(width * 3);
    for (to, from) in into.chunks_exact_mut(columns * 3).zip(source) {
        to.copy_from_slice(&from[left * 3..(left + columns) * 3]);
    }
}

/// Mirrors an image about its vertical axis, in place.
///
/// # Panics
/// If `pixels` is not a whole number of rows.
pub fn mirror(pixels: &mut [u8], width: usize) {
    assert!(width > 0 && pixels.len().is_multiple_of(width * 3), "rows of {width} pixels");
    for row in pixels.chunks_exact_mut(width * 3) {
        let (mut left, mut right) = (0, width - 1);
        while left < right {
            for channel in 0..3 {
                row.swap(left * 3 + channel, right * 3 + channel);
            }
            (left, right) = (left + 1, right - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every byte is different, up to 85 pixels.
    fn numbered(height: usize, width: usize) -> Image {
        Image { height, width, pixels: (0..height * width * 3).map(|i| i as u8).collect() }
    }

    #[test]
    fn every_crop_of_a_tiny_image() {
        let image = numbered(5, 7);
        for (rows, columns) in [(1, 1), (2, 3), (5, 7), (5, 1), (1, 7)] {
            for top in 0..=5 - rows {
                for left in 0..=7 - columns {
                    let mut out = vec![0; rows * columns * 3];
                    crop(&image.pixels, 7, top, left, (rows, columns), &mut out);
                    let out = Image { height: rows, width: columns, pixels: out };
                    for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                        assert_eq!(out.pixel(y, x), image.pixel(top + y, left + x));
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "columns 2..8 of 7")]
    fn a_crop_stays_inside_its_row() {
        crop(&numbered(5, 7).pixels, 7, 0, 2, (2, 6), &mut [0; 36]);
    }

    #[test]
    #[should_panic(expected = "row 6 is outside")]
    fn a_crop_stays_above_the_last_row() {
        crop(&numbered(5, 7).pixels, 7, 4, 0, (2, 7), &mut [0; 42]);
    }

    #[test]
    fn a_mirrored_view_is_cropped_and_reversed() {
        let (image, view) = (numbered(5, 7), View { top: 1, left: 2, mirror: true });
        let part = image.crop(view, (3, 4));
        assert_eq!((part.height, part.width), (3, 4));
        for (y, x) in (0..3).flat_map(|y| (0..4).map(move |x| (y, x))) {
            assert_eq!(part.pixel(y, x), image.pixel(1 + y, 2 + 3 - x));
        }
        let plain = image.crop(View { mirror: false, ..view }, (3, 4));
        assert_eq!(plain.pixel(2, 0), image.pixel(3, 2));
    }

    proptest! {
        #[test]
        fn a_mirror_reverses_columns(height in 1usize..5, width in 1usize..9) {
            let image = numbered(height, width);
            let mut mirrored = image.clone();
            mirror(&mut mirrored.pixels, width);
            for y in 0..height {
                for x in 0..width {
                    prop_assert_eq!(mirrored.pixel(y, x), image.pixel(y, width - 1 - x));
                }
            }
            mirror(&mut mirrored.pixels, width);
            prop_assert_eq!(mirrored, image);
        }
    }
}
