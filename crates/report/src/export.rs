//! A run's figures as separate files.

use crate::figures::{draw_guesses, draw_neighbours};
use crate::progress::{Measure, curves_svg};
use crate::{Run, palette};
use augment::Image;

/// A picture as a file.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name.
    pub name: &'static str,
    /// PNG or SVG, by the name.
    pub bytes: Vec<u8>,
}

/// Predictions side by side.
const COLUMNS: usize = 4;

/// The first run's available figures: `kernels.png`, `predictions.png`, `mistakes.png`,
/// `neighbours.png`, `reliability.svg`, and `confusion.svg` or, with many classes,
/// `confusion.png`; then the curves of all runs, `loss.svg` and `error.svg`. PNG files have at most
/// 256 colours.
///
/// # Panics
/// If there is no run.
pub fn pictures(runs: &[Run]) -> Vec<Picture> {
    let run = &runs[0];
    let mut pictures = Vec::new();
    let mut add = |name, bytes| pictures.push(Picture { name, bytes });
    let png = |image: &Image| palette::to_png(image, palette::MAX_COLORS);
    if let Some((image, _)) = &run.kernels {
        add("kernels.png", png(image));
    }
    if !run.guesses.is_empty() {
        add("predictions.png", png(&draw_guesses(&run.guesses, COLUMNS)));
    }
    if !run.mistakes.is_empty() {
        add("mistakes.png", png(&draw_guesses(&run.mistakes, COLUMNS)));
    }
    if !run.neighbours.is_empty() {
        add("neighbours.png", png(&draw_neighbours(&run.neighbours)));
    }
    if let Some(tested) = &run.tested {
        let reliability = crate::reliability::to_svg_file(&tested.quality.calibration);
        add("reliability.svg", reliability.into_bytes());
        let confusion = &tested.confusion;
        if confusion.is_small() {
            add("confusion.svg", confusion.to_svg_file().into_bytes())
        } else {
            add("confusion.png", png(&confusion.draw()))
        }
    }
    for (name, measure) in [("loss.svg", Measure::Loss), ("error.svg", Measure::Error)] {
        add(name, curves_svg(runs, measure).into_bytes());
    }
    pictures
}
