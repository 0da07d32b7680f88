//! Preprocessing element by element, in f64: the specification.

use super::{CHANNELS, Geometry, Mean, TINTS};
use ndarray::{Array4, ArrayView4};

/// `views[n]` is top, left, mirrored; `tints[n]` is the gains, then the shifts, of red, green and
/// blue; `mean` is called with row, column and channel.
pub fn forward(
    g: &Geometry,
    pixels: ArrayView4<u8>,
    views: &[[u32; 3]],
    tints: &[[f32; TINTS]],
    mean: impl Fn(usize, usize, usize) -> f32,
) -> Array4<f32> {
    Array4::from_shape_fn(pixels.dim(), |(n, i, j, c)| {
        let [top, left, mirror] = views[n];
        let column = if mirror == 1 { g.width - 1 - j } else { j };
        let mean = match g.mean {
            Mean::Image { .. } => mean(top as usize + i, left as usize + column, c),
            Mean::Color => mean(0, 0, c),
        };
        let centred = f64::from(pixels[[n, i, column, c]]) - f64::from(mean);
        (centred * f64::from(tints[n][c]) + f64::from(tints[n][CHANNELS + c])) as f32
    })
}
