//! An operation on an image, by name and strength, and applying it in place.

use crate::affine::{Affine, Interpolation};
use crate::{Image, jitter, tone};

/// An operation on an image, as `torchvision.transforms.functional` defines it on tensors of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// No change.
    Identity,
    /// Shears along x about the upper left corner, by the tangent of the angle.
    ShearX(f64),
    /// As along x.
    ShearY(f64),
    /// Moves to the right by whole pixels.
    TranslateX(i32),
    /// Moves down by whole pixels.
    TranslateY(i32),
    /// Rotates about the centre, counter-clockwise, in degrees.
    Rotate(f64),
    /// Multiplies each byte by the factor.
    Brightness(f64),
    /// Scales the difference from each pixel's grey by the factor: `adjust_saturation`.
    Color(f64),
    /// Scales the difference from the image's mean grey by the factor.
    Contrast(f64),
    /// Blends with the smoothed image; the factor is the weight of the image itself.
    Sharpness(f64),
    /// Keeps this many bits of each byte.
    Posterize(u32),
    /// Inverts bytes that are at least the threshold.
    Solarize(f32),
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// Equalizes the histogram of each channel.
    Equalize,
    /// Replaces `x` by `255 - x`.
    Invert,
    /// Replaces each pixel by its grey level.
    Grayscale,
    /// Reverses the order of rows.
    VerticalFlip,
}

/// How geometric operations sample pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Between pixels.
    pub interpolation: Interpolation,
    /// Outside of the image: a colour; `None` is torchvision's `fill=None`, black.
    pub fill: Option<[u8; 3]>,
}

/// Memory for the images of an operation, reused so that operations do not allocate.
#[derive(Clone, Debug, Default)]
pub struct Canvas {
    from: Image,
    into: Image,
}

impl Operation {
    /// Applies it to the pixels of an image of `size` (height, width), in place.
    ///
    /// # Panics
    /// If `pixels` does not have this size, or the image has no pixels.
    pub fn apply(
        self,
        pixels: &mut [u8],
        size: (usize, usize),
        sampling: Sampling,
        canvas: &mut Canvas,
    ) {
        assert_eq!(pixels.len(), size.0 * size.1 * 3, "an image of {size:?} pixels");
        let mut transform = |map: Affine| canvas.transform(map, pixels, size, sampling);
        match self {
            Operation::Identity => (),
            Operation::ShearX(tangent) => transform(Affine::shear(size, [tangent, 0.0])),
            Operation::ShearY(tangent) => transform(Affine::shear(size, [0.0, tangent])),
            Operation::TranslateX(right) => transform(Affine::translation(right, 0)),
            Operation::TranslateY(down) => transform(Affine::translation(0, down)),
            Operation::Rotate(degrees) => transform(Affine::rotation(degrees)),
            Operation::Brightness(factor) => jitter::brighten(pixels, factor),
            Operation::Color(factor) => jitter::saturate(pixels, factor),
            Operation::Contrast(factor) => jitter::change_contrast(pixels, factor),
            Operation::Sharpness(factor) => {
                tone::sharpen(pixels, size.1, factor, &mut canvas.from.pixels);
            }
            Operation::Posterize(bits) => tone::posterize(pixels, bits),
            Operation::Solarize(threshold) => tone::solarize(pixels, threshold),
            Operation::AutoContrast => tone::autocontrast(pixels),
            Operation::Equalize => tone::equalize(pixels),
            Operation::Invert => tone::invert(pixels),
            Operation::Grayscale => tone::grayscale(pixels),
            Operation::VerticalFlip => tone::vertical_flip(pixels, size.1),
        }
    }
}

impl Canvas {
    fn transform(
        &mut self,
        map: Affine,
        pixels: &mut [u8],
        (height, width): (usize, usize),
        sampling: Sampling,
    ) {
        let Canvas { from, into } = self;
        (from.height, from.width) = (height, width);
        from.pixels.clear();
        from.pixels.extend_from_slice(pixels);
        map.apply(from, sampling.interpolation, sampling.fill, into);
        pixels.copy_from_slice(&into.pixels);
    }
}

#[cfg(test)]
mod tests;
