//! The first layer's kernels as a picture: the paper's Figure 3.

use crate::picture;
use augment::Image;
use layers::Row;
use weights::Weights;

/// The weights of a first convolution: `filters` windows of height x width x 3, channels last.
#[derive(Clone, Copy, Debug)]
pub struct Kernels<'a> {
    /// filters x window x window x 3 values.
    pub weights: &'a [f32],
    /// Number of filters.
    pub filters: usize,
    /// Side of the square window.
    pub window: usize,
    /// Number of equal towers to which the filters belong; Figure 3 has the first tower's above the
    /// second's.
    pub towers: usize,
}

/// Pixels between kernels; the gap between towers is four times as large.
const GAP: usize = 3;
/// Kernels are enlarged to about this side.
const SIDE: usize = 44;
const MAX_COLUMNS: usize = 16;
/// The colour between kernels.
pub const GROUND: [u8; 3] = [255; 3];

/// Draws the kernels in three rows per tower, or more if a row would have more than sixteen. Black
/// and white are the minimum and maximum of all weights, so that strengths are comparable, as in
/// the 2012 source.
///
/// # Panics
/// If the number of weights does not match the sizes, or there is no filter.
pub fn draw(kernels: &Kernels) -> Image {
    let Kernels { weights, filters, window, towers } = *kernels;
    let size = window * window * 3;
    assert!(filters > 0 && weights.len() == filters * size, "{filters} kernels of {window}");
    let towers = if towers > 0 && filters.is_multiple_of(towers) { towers } else { 1 };
    let per_tower = filters / towers;
    let columns = per_tower.div_ceil(3).clamp(1, MAX_COLUMNS).max(8.min(per_tower));
    let rows = per_tower.div_ceil(columns);
    let scale = (SIDE / window).max(1);
    let cell = window * scale + GAP;
    let tower_height = rows * cell + 3 * GAP;

    let height = GAP + towers * tower_height - 3 * GAP;
    let mut sheet = Image::filled(height, GAP + columns * cell, GROUND);
    let min = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = (max - min).max(f32::MIN_POSITIVE);
    for (number, kernel) in weights.chunks_exact(size).enumerate() {
        let (tower, place) = (number / per_tower, number % per_tower);
        let top = GAP + tower * tower_height + place / columns * cell;
        let pixels = kernel.iter().map(|w| (255.0 * (w - min) / span).round() as u8).collect();
        let kernel = Image { height: window, width: window, pixels };
        picture::paste(&mut sheet, (top, GAP + place % columns * cell), &kernel, scale);
    }
    sheet
}

/// The first layer's kernels, drawn, with a caption; `None` if it is not a convolution of images.
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
    fn towers_are_drawn_one_above_the_other_on_one_scale() {
        // 96 kernels of one pixel: sixteen per row, three rows per tower, as in the paper.
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
