//! Pixels to network input: mirror, subtract the mean, shift the colours (section 4.1).
//!
//! ```text
//! x[n][i][j][c] = (pixel[n][i][j'][c] - mean[top + i][left + j'][c]) gain[n][c] + shift[n][c]
//! j' = width - 1 - j in a mirrored image, else j
//! ```
//!
//! Pixels are uploaded as bytes, cropped but not mirrored: a quarter of the memory traffic of
//! floats. The mean image covers whole training images, so the part at the crop's position is
//! subtracted, and mirrored with it. The recipe decides the scale of inputs and of colour shifts;
//! the paper's keeps the range of 0 to 255, minus the mean.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::value::{self, any_in_bf16};
use tensor::{DType, Device, Result, Slot};

/// Red, green, blue.
pub const CHANNELS: usize = 3;

/// Gains and shifts of an image: one of each per channel.
pub const TINTS: usize = 2 * CHANNELS;

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

/// The mean that is subtracted from every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// What [`forward`] reads.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// u8, `[images, height, width, 3]`.
    pub pixels: Slot,
    /// u32, `[images, 3]`: top and left of the crop in the mean image, and 1 if mirrored.
    pub views: Slot,
    /// f32, `[images, 6]`: the gains of red, green and blue, and their shifts.
    pub tints: Slot,
    /// f32, of the shape that [`Mean`] gives.
    pub mean: Slot,
}

/// Fills `x`, `[images, height, width, 3]`, in f32 or, on a CPU, in bf16.
///
/// # Errors
/// If the device fails; [`Error::NoKernel`](tensor::Error::NoKernel) for bf16 on a GPU.
///
/// # Panics
/// If slots do not fit the geometry, or a crop lies outside the mean image.
pub fn forward(device: &mut Device, g: &Geometry, inputs: Inputs, x: Slot) -> Result<()> {
    let Inputs { pixels, views, tints, mean } = inputs;
    let elements = g.images * g.height * g.width * CHANNELS;
    assert!(pixels.dtype() == DType::U8 && pixels.len() == elements, "pixels {pixels:?}");
    assert!(views.dtype() == DType::U32 && views.len() == 3 * g.images, "views {views:?}");
    assert_eq!(tints.len(), TINTS * g.images, "six values per image");
    assert_eq!(x.len(), elements, "x and the pixels differ in length");
    let mean_elements = match g.mean {
        Mean::Image { height, width } => height * width * CHANNELS,
        Mean::Color => CHANNELS,
    };
    assert_eq!(mean.len(), mean_elements, "a mean of another length");
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, [pixels, views, tints, mean, x]),
        Device::Cuda(cuda) if any_in_bf16([x]) => value::lacks_bf16(cuda, "images in bf16"),
        Device::Cuda(cuda) => cuda::forward(cuda, g, [pixels, views, tints, mean, x]),
    }
}
