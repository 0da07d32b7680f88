//! The first layer's kernels as a picture: the paper's Figure 3.

use crate::picture;
use augment::Image;
use layers::Row;
use weights::Weights;

/// The weights of a first convolution: `filters` windows of height x width x 3, channels last.
#[derive(Clone, Copy, Debug)]
pub struct Kernels<'a> {
    /// filters x window x window x 3 numbers.
    pub weights: &'a [f32],
    /// How many.
    pub filters: usize,
    /// Side of the square window.
    pub window: usize,
    /// Towers that the filters belong to, as many to each; Figure 3 has the first tower's above
    /// the second's.
    pub towers: usize,
}

/// Between kernels, in pixels; towers lie four times as far apart.
const GAP: usize = 3;
/// Kernels are enlarged to about this side.
const SIDE: usize = 44;
const MOST_COLUMNS: usize = 16;
const GROUND: [u8; 3] = [255; 3];

/// Draws the kernels, three rows a tower where that makes no more than sixteen a row. Black and
/// white are the least and the greatest of all weights, so that strengths compare, as in the 2012
/// source.
///
/// # Panics
/// If there are not as many numbers as the sizes say, or no filter.
pub fn draw(kernels: &Kernels) -> Image {
    let Kernels { weights, filters, window, towers } = *kernels;
    let size = window * window * 3;
    assert!(filters > 0 && weights.len() == filters * size, "{filters} kernels of {window}");
    let towers = if towers > 0 && filters.is_multiple_of(towers) { towers } else { 1 };
    let per_tower = filters / towers;
    let columns = per_tower.div_ceil(3).clamp(1, MOST_COLUMNS).max(8.min(per_tower));
    let rows = per_tower.div_ceil(columns);
    let scale = (SIDE / window).max(1);
    let cell = window * scale + GAP;
    let tower_height = rows * cell + 3 * GAP;

    let height = GAP + towers * tower_height - 3 * GAP;
    let mut sheet = Image::filled(height, GAP + columns * cell, GROUND);
    let least = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let greatest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = (greatest - least).max(f32::MIN_POSITIVE);
    for (number, kernel) in weights.chunks_exact(size).enumerate() {
        let (tower, place) = (number / per_tower, number % per_tower);
        let top = GAP + tower * tower_height + place / columns * cell;
        let pixels = kernel.iter().map(|w| (255.0 * (w - least) / span).round() as u8).collect();
        let kernel = Image { height: window, width: window, pixels };
        picture::paste(&mut sheet, (top, GAP + place % columns * cell), &kernel, scale);
    }
    sheet
}

/// The first layer's kernels, drawn, and a sentence on them; `None` if it is no convolution of
/// images.
pub fn first_layer(weights: &Weights) -> Option<(Image, String)> {
    let spec = &weights.about.model;
    let conv = spec.rows.iter().find_map(|row| match row {
        Row::Conv(conv) => Some(conv),
        _ => None,
    })?;
    let towers = spec.rows.iter().find_map(|row| match row {
        Row::Conv(conv) if conv.groups > 1 => Some(conv.groups),
        _ => None,
    });
    let towers = towers.unwrap_or(1);
    let name = format!("{}.weight", conv.name);
    let (_, values) = weights.parameters.iter().find(|(other, _)| *other == name)?;
    let &[filters, window, width, 3] = &values.shape[..] else { return None };
    if window != width || filters == 0 {
        return None;
    }
    let drawn = draw(&Kernels { weights: &values.values, filters, window, towers });
    let laid = match towers {
        1 => String::new(),
        _ => format!(
            ", the first tower's {} above the second's, as in Figure 3 of the paper",
            filters / towers
        ),
    };
    let caption = format!("The {filters} kernels of {}, {window} × {window} × 3{laid}.", conv.name);
    Some((drawn, caption))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towers_lie_one_above_the_other_on_one_scale() {
        // 96 kernels of one pixel: sixteen a row, three rows a tower, as in the paper.
        let weights: Vec<f32> = (0..96 * 3).map(|i| (i / 3) as f32).collect();
        let sheet = draw(&Kernels { weights: &weights, filters: 96, window: 1, towers: 2 });
        let cell = SIDE + GAP;
        assert_eq!(sheet.width, GAP + 16 * cell);
        assert_eq!(sheet.height, GAP + 6 * cell + 3 * GAP);
        assert_eq!(sheet.pixel(GAP, GAP), [0; 3]);
        let (top, left) = (GAP + 5 * cell + 3 * GAP, GAP + 15 * cell);
        assert_eq!(sheet.pixel(top, left), [255; 3]);
        // Number 48 begins the second tower: 48 / 95 of the way from black to white.
        assert_eq!(sheet.pixel(GAP + 3 * cell + 3 * GAP, GAP), [129; 3]);
        assert_eq!(sheet.pixel(GAP + 3 * cell, GAP), GROUND, "a wider gap between the towers");
    }

    #[test]
    fn odd_numbers_and_equal_weights_are_drawn_too() {
        let sheet = draw(&Kernels { weights: &[0.5; 5 * 12], filters: 5, window: 2, towers: 2 });
        assert_eq!(sheet.width, GAP + 5 * (SIDE + GAP));
        assert_eq!(sheet.pixel(GAP, GAP), [0; 3]);
    }
}
