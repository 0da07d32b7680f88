//! Drawing on images: pasting, filling, text; PNG files and data URIs.

use crate::font;
use augment::{Image, Resizer};
use base64::Engine;

/// Background colour.
pub const PAPER: [u8; 3] = [255; 3];
/// Text colour.
pub const INK: [u8; 3] = [40; 3];

/// Pastes an image, enlarged `scale` times, with its first pixel at row `top` and column `left`;
/// parts outside `onto` are clipped.
pub fn paste(onto: &mut Image, (top, left): (usize, usize), image: &Image, scale: usize) {
    for (y, x) in (0..image.height).flat_map(|y| (0..image.width).map(move |x| (y, x))) {
        let color = image.pixel(y, x);
        fill(onto, (top + y * scale, left + x * scale), (scale, scale), color);
    }
}

/// Fills a rectangle of `size` (height, width) from `at` (row, column) on.
pub fn fill(onto: &mut Image, at: (usize, usize), size: (usize, usize), color: [u8; 3]) {
    let (bottom, right) = (onto.height.min(at.0 + size.0), onto.width.min(at.1 + size.1));
    for (y, x) in (at.0..bottom).flat_map(|y| (at.1..right).map(move |x| (y, x))) {
        let start = (y * onto.width + x) * 3;
        onto.pixels[start..start + 3].copy_from_slice(&color);
    }
}

/// Writes text, truncated to `width` pixels, with dots of `scale` pixels.
pub fn write(
    onto: &mut Image,
    (top, left): (usize, usize),
    text: &str,
    width: usize,
    scale: usize,
    color: [u8; 3],
) {
    let fits = (width + scale) / ((font::WIDTH + 1) * scale);
    for (at, letter) in text.chars().take(fits).enumerate() {
        for (x, column) in font::columns(letter).into_iter().enumerate() {
            for y in (0..font::HEIGHT).filter(|y| column >> y & 1 == 1) {
                let left = left + (at * (font::WIDTH + 1) + x) * scale;
                fill(onto, (top + y * scale, left), (scale, scale), color);
            }
        }
    }
}

/// The image with its longer side at most `side` pixels.
pub fn thumbnail(image: &Image, side: usize) -> Image {
    let longer = image.height.max(image.width);
    if longer <= side {
        return image.clone();
    }
    let shrunk = |extent: usize| (extent * side / longer).max(1);
    let mut small = Image::default();
    Resizer::default().resize(image, shrunk(image.height), shrunk(image.width), &mut small);
    small
}

/// The image as a PNG file.
pub fn to_png(image: &Image) -> Vec<u8> {
    to_keyed_png(image, None)
}

/// The image as a PNG file in which pixels of the colour `transparent` are transparent.
pub fn to_keyed_png(image: &Image, transparent: Option<[u8; 3]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width as u32, image.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    if let Some(color) = transparent {
        // Samples of 16 bits, also in images of 8 bits.
        encoder.set_trns(color.map(|value| [0, value]).concat());
    }
    let mut writer = encoder.write_header().expect("sizes below 2^31");
    writer.write_image_data(&image.pixels).expect("the number of bytes matches the size");
    writer.finish().expect("writing to a Vec does not fail");
    bytes
}

/// The image as a PNG in a data URI: `data:image/png;base64,...`.
pub fn data_uri(image: &Image) -> String {
    png_uri(&to_png(image))
}

/// A PNG file as a data URI.
pub fn png_uri(png: &[u8]) -> String {
    let code = base64::engine::general_purpose::STANDARD.encode(png);
    format!("data:image/png;base64,{code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_decodes_to_the_same_image() {
        let image = Image::filled(3, 2, [1, 2, 3]);
        let bytes = to_png(&image);
        let mut back = Image::default();
        data::decode::decode(&bytes, &mut back).unwrap();
        assert_eq!(back, image);
        assert!(data_uri(&image).starts_with("data:image/png;base64,iVBORw0KGgo"));
    }

    #[test]
    fn parts_outside_are_clipped() {
        let mut sheet = Image::filled(4, 4, PAPER);
        paste(&mut sheet, (3, 2), &Image::filled(2, 2, [9; 3]), 3);
        assert_eq!(sheet.pixel(3, 3), [9; 3]);
        assert_eq!(sheet.pixel(2, 3), PAPER);
    }

    #[test]
    fn a_thumbnail_keeps_the_shape() {
        let small = thumbnail(&Image::filled(50, 200, [7; 3]), 100);
        assert_eq!((small.height, small.width, small.pixel(0, 0)), (25, 100, [7; 3]));
        assert_eq!(thumbnail(&small, 100), small);
    }
}
