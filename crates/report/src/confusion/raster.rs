//! Matrices of many classes: pixels, embedded in an SVG with class names.

use super::{Confusion, label};
use crate::markup::escape;
use crate::palette;
use crate::picture::png_uri;
use augment::Image;
use std::fmt::Write;

/// Colours of the embedded picture, a compromise between quality and size.
const COLORS: usize = 32;
/// Maximum number of pixels per side; with more classes several share a pixel.
const MAX_PIXELS: usize = 2000;
/// Number of class names at the sides.
const TICKS: usize = 25;
/// Pairs that are listed below.
const PAIRS: usize = 10;
/// Units of the picture's side, and of a line of text.
const SIDE: f64 = 800.0;
const LINE: f64 = 18.0;
/// Letters of a name.
const LETTERS: usize = 24;

impl Confusion {
    /// The matrix as an image with at least one pixel per cell: dark where many images of a class
    /// (row) were predicted as a class (column). With more than 2,000 classes a pixel shows the
    /// darkest of several cells.
    pub fn draw(&self) -> Image {
        let n = self.classes.len();
        let (scale, shared) = ((320 / n.max(1)).max(1), n.div_ceil(MAX_PIXELS).max(1));
        let side = n.div_ceil(shared) * scale;
        let mut picture = Image::filled(side, side, [255; 3]);
        let mut depths = vec![0.0; n.div_ceil(shared)];
        for first in (0..n).step_by(shared) {
            depths.fill(0.0f64);
            for class in first..n.min(first + shared) {
                let images: u32 = self.row(class).iter().sum();
                for (column, &count) in
                    self.row(class).iter().enumerate().filter(|cell| *cell.1 > 0)
                {
                    let depth = (f64::from(count) / f64::from(images)).sqrt();
                    depths[column / shared] = depth.max(depths[column / shared]);
                }
            }
            let row = first / shared;
            for (column, &depth) in depths.iter().enumerate().filter(|cell| *cell.1 > 0.0) {
                let ink = if row == column { [31.0, 95.0, 168.0] } else { [178.0, 58.0, 46.0] };
                let color = ink.map(|ink: f64| (255.0 - (255.0 - ink) * depth).round() as u8);
                let at = (row * scale, column * scale);
                crate::picture::fill(&mut picture, at, (scale, scale), color);
            }
        }
        picture
    }

    /// The matrix as SVG with an embedded picture, some class names at the sides, and the most
    /// confused pairs below.
    pub(super) fn to_raster_svg(&self, id: &str) -> String {
        let n = self.classes.len();
        let pairs = self.worst_pairs(PAIRS);
        let left = 7.0 * LETTERS as f64 + 40.0;
        let top = 0.8 * left;
        let width = left + SIDE + 0.6 * left; // the names above lean over the right edge
        let height = top + SIDE + LINE * (pairs.len() as f64 + 2.5);
        let mut svg = format!(
            "<svg class=\"matrix\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-t\" style=\"max-width:{width:.0}px\" \
             xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{id}-t\">Confusion matrix of {n} \
             classes: rows are true classes, columns predicted classes</title>\
             <image x=\"{left:.1}\" y=\"{top:.1}\" width=\"{SIDE}\" height=\"{SIDE}\" \
             style=\"image-rendering:pixelated\" href=\"{}\"/>",
            png_uri(&palette::to_png(&self.draw(), COLORS)),
        );
        for tick in 0..TICKS.min(n) {
            self.tick(tick * n / TICKS.min(n), (left, top), &mut svg);
        }
        let mut line = top + SIDE + 1.5 * LINE;
        for (class, predicted, images) in pairs {
            let [class, predicted] =
                [class, predicted].map(|name| escape(&shortened(name, 2 * LETTERS)));
            let _ = write!(
                svg,
                "<text class=\"name\" x=\"{left:.1}\" y=\"{line:.1}\">{images} images of {class} \
                 predicted as {predicted}</text>"
            );
            line += LINE;
        }
        svg + "</svg>"
    }

    /// Writes a class's number and name at both sides.
    fn tick(&self, class: usize, corner: (f64, f64), svg: &mut String) {
        let middle = SIDE * (class as f64 + 0.5) / self.classes.len() as f64;
        let name = escape(&shortened(&self.classes[class], LETTERS));
        let number = class.to_string();
        let text = if name == number { name } else { format!("{number} {name}") };
        label(&text, middle, corner, svg);
    }
}

/// Shortens a text to at most `letters` characters.
fn shortened(text: &str, letters: usize) -> String {
    match text.chars().nth(letters) {
        Some(_) => text.chars().take(letters - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}
