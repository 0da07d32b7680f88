//! Contact sheets of labelled images, and the network's input as an image.

use crate::font;
use crate::picture::{self, INK, PAPER};
use augment::Image;
use data::{Batch, Statistics};
use weights::Mean;

/// An image and its label.
pub type Labelled<'a> = (Image, &'a str);

/// Small images are enlarged by an integer factor to about this width.
const WIDTH: usize = 128;
const GAP: usize = 6;

/// Draws images of one size, `columns` per row.
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

/// The mean of a data set.
#[derive(Clone, Copy, Debug)]
pub struct StoredMean<'a> {
    /// Mean image or mean colour.
    pub kind: Mean,
    /// The measured means.
    pub colors: &'a Statistics,
    /// Side in pixels of the mean image.
    pub side: usize,
}

/// An image of a batch as the network receives it, of `height` x `width` pixels, with the batch's
/// mirroring and colour shift. The mean is added back for display.
pub fn network_input(
    batch: &Batch,
    row: usize,
    (height, width): (usize, usize),
    mean: Option<StoredMean<'_>>,
) -> Image {
    let bytes = height * width * 3;
    let mut image = Image { height, width, pixels: batch.pixels[row * bytes..][..bytes].to_vec() };
    let [top, left, mirrored] = batch.views[row].map(|n| n as usize);
    if let Some(StoredMean { kind, colors, side }) = mean {
        let [gain, shift @ ..] = batch.tints[row];
        for (at, pixel) in image.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (y, x) = (top + at / width, left + at % width);
            for channel in 0..3 {
                let mean = match kind {
                    Mean::Image => colors.mean[(y * side + x) * 3 + channel],
                    Mean::Color => colors.color[channel],
                };
                let value = (f32::from(pixel[channel]) - mean) * gain + shift[channel] + mean;
                pixel[channel] = value.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    if mirrored == 1 {
        augment::mirror(&mut image.pixels, width);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_labels_are_placed_correctly() {
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
    fn every_pixel_is_shifted_about_its_mean_and_mirrored() {
        let batch = Batch {
            pixels: [vec![9; 6], vec![10, 20, 30, 100, 200, 250]].concat().into(),
            views: vec![[0; 3], [1, 1, 1]],
            tints: vec![[1.0, 0.0, 0.0, 0.0], [0.5, 1.0, -40.0, 200.0]],
            labels: vec![0; 2],
            images: 2,
            ..Batch::default()
        };
        let mut colors = Statistics {
            mean: vec![0.0; 27],
            color: [50.0, 60.0, 70.0],
            variances: [0.0; 3],
            components: [[0.0; 3]; 3],
            images: 1,
        };
        let plain = network_input(&batch, 1, (1, 2), None);
        assert_eq!(plain.pixels, [100, 200, 250, 10, 20, 30]);
        // By hand: (100 - 50) / 2 + 1 + 50 = 76, (200 - 60) / 2 - 40 + 60 = 90, and so on.
        let with_color = network_input(
            &batch,
            1,
            (1, 2),
            Some(StoredMean { kind: Mean::Color, colors: &colors, side: 3 }),
        );
        assert_eq!(with_color.pixels, [76, 90, 255, 31, 0, 250]);
        // Rows and columns 1 and 1, 1 and 2 of a mean image of 3 x 3.
        colors.mean[12..18].copy_from_slice(&[2.0, 4.0, 6.0, 20.0, 40.0, 60.0]);
        let with_image = network_input(
            &batch,
            1,
            (1, 2),
            Some(StoredMean { kind: Mean::Image, colors: &colors, side: 3 }),
        );
        assert_eq!(with_image.pixels, [61, 80, 255, 7, 0, 218]);
    }
}
