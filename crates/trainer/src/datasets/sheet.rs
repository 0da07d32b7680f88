//! A contact sheet: images side by side, each with a line under it.

use super::font;
use augment::Image;

/// An image and what stands under it.
pub type Labelled<'a> = (Image, &'a str);

/// Small images are enlarged, pixel by pixel, to about this width.
const WIDTH: usize = 128;
const GAP: usize = 6;
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [40; 3];

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
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            set(&mut sheet, top + y, left + x, image.pixel(y / scale, x / scale));
        }
        write(&mut sheet, (top + height + GAP / 2, left), label, width);
    }
    sheet
}

/// Writes as much of a text as fits the width.
fn write(sheet: &mut Image, (top, left): (usize, usize), text: &str, width: usize) {
    let fits = (width + 1) / (font::WIDTH + 1);
    for (at, letter) in text.chars().take(fits).enumerate() {
        for (x, column) in font::columns(letter).into_iter().enumerate() {
            for y in (0..font::HEIGHT).filter(|y| column >> y & 1 == 1) {
                set(sheet, top + y, left + at * (font::WIDTH + 1) + x, INK);
            }
        }
    }
}

fn set(sheet: &mut Image, y: usize, x: usize, color: [u8; 3]) {
    let start = (y * sheet.width + x) * 3;
    sheet.pixels[start..start + 3].copy_from_slice(&color);
}

/// The image as a PNG file.
pub fn to_png(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width as u32, image.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("sizes below 2^31");
    writer.write_image_data(&image.pixels).expect("as many bytes as the sizes say");
    writer.finish().expect("memory takes all");
    bytes
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

    #[test]
    fn a_png_reads_back() {
        let image = Image::filled(3, 2, [1, 2, 3]);
        let bytes = to_png(&image);
        let mut back = Image::default();
        data::decode::decode(&bytes, &mut back).unwrap();
        assert_eq!(back, image);
    }
}
