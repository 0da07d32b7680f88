//! The images to which a kernel responds most, and the patches that it sees there.

use crate::document::document;
use crate::font;
use crate::markup::escape;
use crate::picture::{self, INK, PAPER, data_uri};
use augment::{Image, Resizer};
use std::fmt::Write;

/// An image and the patch to which a kernel responds most.
#[derive(Clone, Debug)]
pub struct Activating {
    /// The network's input.
    pub image: Image,
    /// The patch's first row and column.
    pub at: (usize, usize),
    /// The patch's height and width; inside the image.
    pub size: (usize, usize),
    /// The image's class.
    pub label: String,
    /// The kernel's response.
    pub value: f32,
}

/// Side of a drawn image in pixels.
const SIDE: usize = 112;
const GAP: usize = 6;
/// The frame around the patch.
const FRAME: [u8; 3] = [255, 214, 10];

/// Draws the patches side by side, below each its image with the patch framed, and the class.
///
/// # Panics
/// If there is no image.
pub fn draw(images: &[Activating]) -> Image {
    assert!(!images.is_empty(), "a picture of some images");
    let (cell, height) = (SIDE + GAP, 2 * (SIDE + GAP) + font::HEIGHT + 2 * GAP);
    let mut sheet = Image::filled(height, GAP + images.len() * cell, PAPER);
    for (number, one) in images.iter().enumerate() {
        let left = GAP + number * cell;
        picture::paste(&mut sheet, (GAP, left), &fitted(&patch(one)), 1);
        picture::paste(&mut sheet, (GAP + cell, left), &framed(one), 1);
        let below = GAP + 2 * cell;
        picture::write(&mut sheet, (below, left), &one.label, SIDE, 1, INK);
    }
    sheet
}

/// A self-contained page with the images of each kernel.
pub fn page(kernels: &[(String, Vec<Activating>)]) -> String {
    let header = "<p>The images with the largest responses of each kernel: the patch that it sees \
                  at the position of its largest response, and the image with the patch \
                  framed.</p>";
    let mut main = String::new();
    for (name, images) in kernels.iter().filter(|(_, images)| !images.is_empty()) {
        let values: Vec<String> = images.iter().map(|one| format!("{:.2}", one.value)).collect();
        let drawn = draw(images);
        let name = escape(name);
        let _ = write!(
            main,
            "<section>\n<h2>{name}</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"{name}\"><img style=\"max-width:none\" width=\"{}\" height=\"{}\" \
             alt=\"Patches and images with the largest responses of {name}\" src=\"{}\"></div>\n\
             <p class=\"note\">Responses: {}</p>\n</section>\n",
            drawn.width,
            drawn.height,
            data_uri(&drawn),
            values.join(", "),
        );
    }
    document("Kernels", header, &main)
}

fn patch(one: &Activating) -> Image {
    let Activating { image, at: (top, left), size: (height, width), .. } = one;
    let mut patch = Image::filled(*height, *width, PAPER);
    augment::crop(&image.pixels, image.width, *top, *left, (*height, *width), &mut patch.pixels);
    patch
}

/// The image at the size of the sheet, with a frame around the patch.
fn framed(one: &Activating) -> Image {
    let mut image = fitted(&one.image);
    let longer = one.image.height.max(one.image.width);
    let scaled = |extent: usize| extent * SIDE / longer.max(1);
    let (top, left) = (scaled(one.at.0), scaled(one.at.1));
    let (height, width) = (scaled(one.size.0).max(3), scaled(one.size.1).max(3));
    let (bottom, right) = (top + height - 1, left + width - 1);
    picture::fill(&mut image, (top, left), (1, width), FRAME);
    picture::fill(&mut image, (bottom, left), (1, width), FRAME);
    picture::fill(&mut image, (top, left), (height, 1), FRAME);
    picture::fill(&mut image, (top, right), (height, 1), FRAME);
    image
}

/// The image with its longer side of [`SIDE`] pixels.
fn fitted(image: &Image) -> Image {
    let longer = image.height.max(image.width).max(1);
    let scaled = |extent: usize| (extent * SIDE / longer).max(1);
    let mut fitted = Image::default();
    Resizer::default().resize(image, scaled(image.height), scaled(image.width), &mut fitted);
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Activating {
        let mut image = Image::filled(28, 28, [10, 20, 30]);
        picture::fill(&mut image, (14, 14), (7, 7), [200, 100, 50]);
        let (at, size, label) = ((14, 14), (7, 7), "a <b>".to_string());
        Activating { image, at, size, label, value: 1.5 }
    }

    #[test]
    fn a_patch_is_cut_out_and_framed_in_its_image() {
        let sheet = draw(&[one(), one()]);
        assert_eq!(sheet.width, GAP + 2 * (SIDE + GAP));
        assert_eq!(sheet.pixel(GAP + 50, GAP + 50), [200, 100, 50]);
        let top = GAP + SIDE + GAP;
        assert_eq!(sheet.pixel(top + 5, GAP + 5), [10, 20, 30]);
        assert_eq!(sheet.pixel(top + 56, GAP + 60), FRAME);
        assert_eq!(sheet.pixel(top + 60, GAP + 83), FRAME);
    }

    #[test]
    fn a_page_has_a_picture_for_each_kernel() {
        let html = page(&[("conv1:0".into(), vec![one()]), ("conv1:1".into(), vec![])]);
        assert_eq!(html.matches("<img ").count(), 1);
        assert!(html.contains("<h2>conv1:0</h2>") && html.contains("Responses: 1.50"), "{html}");
    }
}
