//! From pixels to the network's input: mirror, subtract the mean, shift the colours (section 4.1).
//!
//! ```text
//! x[n][i][j][c] = (pixel[n][i][j'][c] - mean[top + i][left + j'][c]) gain[n] + shift[n][c]
//! j' = width - 1 - j in a mirrored image, else j
//! ```
//!
//! Pixels arrive as bytes, cropped but not mirrored: a quarter of the memory that floats would take
//! on their way. The mean image is that of whole training images, so each crop meets the part of it
//! that it was cut from, and is mirrored with it. Scale of the input and of the colour shift are
//! the recipe's: the paper's keeps pixels from 0 to 255, less the mean.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// Red, green, blue.
pub const CHANNELS: usize = 3;

/// A batch of crops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Crops.
    pub images: usize,
    /// Rows of a crop.
    pub height: usize,
    /// Columns of a crop.
    pub width: usize,
    /// What is subtracted.
    pub mean: Mean,
}

/// What is subtracted from every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mean {
    /// The mean of the training images, pixel by pixel: `[height, width, 3]`.
    Image {
        /// Rows of the mean image.
        height: usize,
        /// Columns of the mean image.
        width: usize,
    },
    /// One colour: `[3]`.
    Color,
}

/// Fills `x`.
///
/// * `pixels`: bytes, `[images, height, width, 3]`
/// * `views`: words, `[images, 3]`: top and left of the crop in the mean image, and 1 if mirrored
/// * `tints`: `[images, 4]`: gain, and what is added to red, green and blue
/// * `mean`: as [`Mean`] says
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If slots do not fit the geometry, or a crop lies outside the mean image.
pub fn forward(
    device: &mut Device,
    g: &Geometry,
    pixels: Slot,
    views: Slot,
    tints: Slot,
    mean: Slot,
    x: Slot,
) -> Result<()> {
    let numbers = g.images * g.height * g.width * CHANNELS;
    assert!(pixels.dtype() == DType::U8 && pixels.len() == numbers, "pixels {pixels:?}");
    assert!(views.dtype() == DType::U32 && views.len() == 3 * g.images, "views {views:?}");
    assert_eq!(tints.len(), 4 * g.images, "four numbers an image");
    assert_eq!(x.len(), numbers, "an input of another size than the pixels");
    let mean_numbers = match g.mean {
        Mean::Image { height, width } => height * width * CHANNELS,
        Mean::Color => CHANNELS,
    };
    assert_eq!(mean.len(), mean_numbers, "a mean of another size");
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, [pixels, views, tints, mean, x]),
        Device::Cuda(cuda) => cuda::forward(cuda, g, [pixels, views, tints, mean, x]),
    }
}
