//! A contact sheet: images side by side, each with a line under it.

use crate::font;
use crate::picture::{self, INK, PAPER};
use augment::Image;

/// An image and what stands under it.
pub type Labelled<'a> = (Image, &'a str);

/// Small images are enlarged, pixel by pixel, to about this width.
const WIDTH: usize = 128;
const GAP: usize = 6;

/// Lays images of one size out, `columns` in a row.
///
/// # Panics
/// If there is no image or no column.
pub fn of(images: &[Labelled], columns: usize) -> Image {
    let (first, _) = images.first().expect("a sheet of some images");
    let scale = (WIDTH / first.width).max(1);
    let (height, width) = (first.height * scale, first.width * scale);
    let (down, right) = (height + font::HEIGHT + 2 * GAP, width + GAP);
    let rows = images.len().div_ceil(columns);
    let columns = columns.min(images.len());
    let mut sheet = Image::filled(GAP + rows * down, GAP + columns * right, PAPER);
    for (at, (image, label)) in images.iter().enumerate() {
        let (top, left) = (GAP + at / columns * down, GAP + at % columns * right);
        picture::paste(&mut sheet, (top, left), image, scale);
        picture::write(&mut sheet, (top + height + GAP / 2, left), label, width, 1, INK);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_where_they_should_and_letters_beneath() {
        let colors = [[200, 0, 0], [0, 200, 0], [0, 0, 200]];
        let images: Vec<Labelled> = colors
            .iter()
            .zip(["L", "a longer name than fits", "\u{e9}"])
            .map(|(&color, label)| (Image::filled(32, 64, color), label))
            .collect();
        let sheet = of(&images, 2);
        // Enlarged twice to 64 x 128; two rows and columns.
        let (down, right) = (64 + font::HEIGHT + 2 * GAP, 128 + GAP);
        assert_eq!((sheet.height, sheet.width), (GAP + 2 * down, GAP + 2 * right));
        for (at, &color) in colors.iter().enumerate() {
            let (top, left) = (GAP + at / 2 * down, GAP + at % 2 * right);
            assert_eq!(sheet.pixel(top, left), color);
            assert_eq!(sheet.pixel(top + 63, left + 127), color);
            assert_eq!(sheet.pixel(top - 1, left), PAPER);
        }
        // An L: a stroke down, and along its foot.
        let top = GAP + 64 + GAP / 2;
        let ink = |y: usize, x: usize| sheet.pixel(top + y, GAP + x) == INK;
        assert!((0..7).all(|y| ink(y, 0)) && (0..5).all(|x| ink(6, x)));
        assert!((0..6).all(|y| !ink(y, 3)));
        // A long name ends with its image.
        let second = GAP + right + 128;
        assert!((0..font::HEIGHT).all(|y| sheet.pixel(top + y, second) == PAPER));
    }
}
