//! Predictions and nearest neighbours as pictures: the two halves of the paper's Figure 4.

use crate::font;
use crate::picture::{self, INK, PAPER};
use augment::Image;

/// An image with its most probable classes.
#[derive(Clone, Debug)]
pub struct Guess {
    /// The network's input.
    pub image: Image,
    /// The image's name.
    pub name: String,
    /// Its class, if known.
    pub truth: Option<String>,
    /// Classes and their probabilities, the best first.
    pub top: Vec<(String, f32)>,
}

/// A query image and its nearest neighbours.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The query image.
    pub image: Image,
    /// Its class, if known, or its name.
    pub label: String,
    /// Its neighbours, the nearest first.
    pub nearest: Vec<Neighbour>,
}

/// One of an image's nearest neighbours.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// The image.
    pub image: Image,
    /// Its class.
    pub label: String,
    /// Euclidean distance in the last hidden layer.
    pub distance: f32,
}

/// Approximate width of an image in pixels.
const WIDTH: usize = 128;
const GAP: usize = 8;
/// Pixels per dot of a letter.
const LETTERS: usize = 2;
const LINE: usize = font::HEIGHT * LETTERS + 2;
/// Bar colours of the image's class, with its outline, and of other classes.
const RIGHT: [u8; 3] = [158, 190, 226];
const OUTLINE: [u8; 3] = [31, 95, 168];
const OTHER: [u8; 3] = [220, 220, 214];
const FAINT: [u8; 3] = [110; 3];

/// Figure 4, left: each image with its class under it and bars for the most probable classes.
///
/// # Panics
/// If there is no image or no column.
pub fn draw_guesses(guesses: &[Guess], columns: usize) -> Image {
    let bars = guesses.iter().map(|guess| guess.top.len()).max().expect("some guesses");
    let columns = columns.min(guesses.len());
    let rows = guesses.len().div_ceil(columns);
    let width = WIDTH + 64;
    let (down, right) = (WIDTH + GAP + (bars + 1) * LINE + 2 * GAP, width + 2 * GAP);
    let mut sheet = Image::filled(GAP + rows * down, 2 * GAP + columns * right, PAPER);
    for (at, guess) in guesses.iter().enumerate() {
        let (top, left) = (GAP + at / columns * down, 2 * GAP + at % columns * right);
        place(&mut sheet, (top, left), &guess.image);
        let label = guess.truth.as_ref().unwrap_or(&guess.name);
        let mut top = top + WIDTH + GAP / 2;
        picture::write(&mut sheet, (top, left), label, width, LETTERS, INK);
        for (class, probability) in &guess.top {
            top += LINE;
            let is_right = guess.truth.as_ref() == Some(class);
            let color = if is_right { RIGHT } else { OTHER };
            let length = (probability.clamp(0.0, 1.0) * width as f32).round() as usize;
            if is_right {
                picture::fill(&mut sheet, (top - 2, left - 1), (LINE - 1, width + 2), OUTLINE);
                picture::fill(&mut sheet, (top - 1, left), (LINE - 3, width), PAPER);
            }
            picture::fill(&mut sheet, (top - 1, left), (LINE - 3, length.max(1)), color);
            picture::write(&mut sheet, (top, left + 3), class, width - 3, LETTERS, INK);
        }
    }
    sheet
}

/// Figure 4, right: query images in the first column, their neighbours beside them.
///
/// # Panics
/// If there is no query.
pub fn draw_neighbours(all: &[Neighbours]) -> Image {
    let columns = 1 + all.iter().map(|one| one.nearest.len()).max().expect("some images");
    let (down, right) = (WIDTH + LINE + 2 * GAP, WIDTH + GAP);
    let mut sheet = Image::filled(GAP + all.len() * down, 3 * GAP + columns * right, PAPER);
    for (row, one) in all.iter().enumerate() {
        let top = GAP + row * down;
        let near = one.nearest.iter().map(|near| (&near.image, &near.label, FAINT));
        for (at, (image, label, color)) in
            [(&one.image, &one.label, INK)].into_iter().chain(near).enumerate()
        {
            // The first column is set apart.
            let left = GAP + at * right + if at > 0 { 2 * GAP } else { 0 };
            place(&mut sheet, (top, left), image);
            picture::write(&mut sheet, (top + WIDTH + GAP / 2, left), label, WIDTH, LETTERS, color);
        }
    }
    sheet
}

/// Pastes an image, as large as fits, into a square of side [`WIDTH`].
fn place(sheet: &mut Image, (top, left): (usize, usize), image: &Image) {
    let image = picture::thumbnail(image, WIDTH);
    let scale = (WIDTH / image.width.max(image.height)).max(1);
    let down = (WIDTH - image.height * scale) / 2;
    picture::paste(sheet, (top + down, left), &image, scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_of_the_true_class_is_outlined_and_proportional_to_its_probability() {
        let guess = Guess {
            image: Image::filled(64, 64, [1, 2, 3]),
            name: "x".into(),
            truth: Some("cat".into()),
            top: vec![("dog".into(), 0.75), ("cat".into(), 0.25)],
        };
        let sheet = draw_guesses(&[guess.clone(), guess], 4);
        assert_eq!(sheet.pixel(GAP + 5, 2 * GAP + 5), [1, 2, 3]);
        let count = |color| sheet.pixels.chunks(3).filter(|pixel| *pixel == color).count();
        let (grey, blue) = (count(OTHER), count(RIGHT));
        // Letters cover some of each.
        assert!(blue > 500 && grey > 2 * blue && grey < 4 * blue, "{grey} and {blue}");
        let outline = 2 * (2 * (WIDTH + 64 + 2) + 2 * (LINE - 3));
        assert_eq!(count(OUTLINE), outline);
    }

    #[test]
    fn every_query_has_a_row() {
        let near =
            Neighbour { image: Image::filled(8, 8, [9; 3]), label: "a".into(), distance: 1.0 };
        let one = Neighbours {
            image: Image::filled(300, 150, [5; 3]),
            label: "b".into(),
            nearest: vec![near; 6],
        };
        let sheet = draw_neighbours(&[one.clone(), one]);
        assert_eq!(sheet.width, 3 * GAP + 7 * (WIDTH + GAP));
        assert_eq!(sheet.pixel(GAP, GAP), [5; 3]);
        assert_eq!(sheet.pixel(GAP, GAP + WIDTH + GAP + 2 * GAP), [9; 3]);
    }
}
