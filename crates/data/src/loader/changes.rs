//! Changes of a crop between reading and uploading: flips, rotations, policies, colours, erasing.

use augment::{
    Canvas, EraseFill, Erasing, Interpolation, Jitter, Operation, Policy, Rectangle, Sampling, View,
};
use random::{Purpose, Stream};
use std::sync::Arc;

/// Random changes of a training crop, applied in this order, after its reflection: as torchvision's
/// references order them, and rotation before the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// The share of crops that are flipped upside down.
    pub vertical_flip: f64,
    /// Rotation by an angle between plus and minus `degrees`.
    pub rotation: Option<Rotation>,
    /// Operations drawn by a policy, and how geometric ones sample pixels.
    pub policy: Option<(Policy, Interpolation)>,
    /// Brightness, contrast, saturation and hue.
    pub jitter: Option<Jitter>,
    /// The share of crops that become grey.
    pub grayscale: f64,
    /// Erased rectangles.
    pub erasing: Option<Erasing>,
}

/// A random rotation: torchvision's `RandomRotation`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The largest angle, either way.
    pub degrees: f64,
    /// Sampling of pixels; corners are black.
    pub interpolation: Interpolation,
}

/// The names of a crop's random draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrawName {
    pub(super) seed: u64,
    pub(super) epoch: u32,
    /// The sample, or its position in the epoch.
    pub(super) index: u32,
}

impl DrawName {
    fn stream(self, purpose: Purpose) -> Stream {
        Stream::new(self.seed, purpose, self.epoch, self.index)
    }
}

/// A crop as the loader has read it.
pub(super) struct Crop<'a> {
    /// Its pixels, not mirrored.
    pub(super) pixels: &'a mut [u8],
    /// Height and width.
    pub(super) size: (usize, usize),
    /// Its position in the area of the mean image, and its reflection.
    pub(super) view: View,
    /// Whether it is mirrored later, by the device; otherwise here.
    pub(super) mirrored_later: bool,
}

impl Changes {
    /// Whether a change depends on the direction of rows.
    fn is_directed(&self) -> bool {
        self.rotation.is_some() || self.policy.is_some() || self.erasing.is_some()
    }

    /// Applies the changes to a crop in the orientation in which the network sees it. `mean` is the
    /// mean image that the device subtracts, rounded to bytes.
    ///
    /// # Panics
    /// If erased pixels become the mean, and there is none.
    pub(super) fn apply(
        &self,
        crop: Crop<'_>,
        name: DrawName,
        mean: Option<MeanBytes<'_>>,
        canvas: &mut Canvas,
    ) {
        let Crop { pixels, size, view, mirrored_later } = crop;
        let here = view.mirror && (self.is_directed() || !mirrored_later);
        if here {
            augment::mirror(pixels, size.1);
        }
        let mut apply = |operation: Operation, interpolation, pixels: &mut [u8]| {
            operation.apply(pixels, size, Sampling { interpolation, fill: None }, canvas);
        };
        let is_drawn = |purpose: Purpose, share: f64| {
            share > 0.0 && f64::from(name.stream(purpose).unit()) < share
        };
        if is_drawn(Purpose::VerticalFlip, self.vertical_flip) {
            apply(Operation::VerticalFlip, Interpolation::Nearest, pixels);
        }
        if let Some(Rotation { degrees, interpolation }) = self.rotation {
            let unit = f64::from(name.stream(Purpose::Rotate).unit());
            apply(Operation::Rotate(degrees * (2.0 * unit - 1.0)), interpolation, pixels);
        }
        if let Some((policy, interpolation)) = self.policy {
            let DrawName { seed, epoch, index } = name;
            policy.draw(seed, epoch, index, size, |drawn| apply(drawn, interpolation, pixels));
        }
        if let Some(jitter) = self.jitter {
            augment::adjust(pixels, &jitter.draw(name.seed, name.epoch, name.index));
        }
        if is_drawn(Purpose::Grayscale, self.grayscale) {
            apply(Operation::Grayscale, Interpolation::Nearest, pixels);
        }
        if let Some(erasing) = self.erasing {
            let DrawName { seed, epoch, index } = name;
            if let Some(hole) = erasing.draw(seed, epoch, index, size) {
                erasing.fill(pixels, size.1, hole, (seed, epoch, index));
                if erasing.fill == EraseFill::Mean {
                    let mean = mean.expect("erasing with the mean needs the mean");
                    mean.fill(pixels, size.1, hole, view, mirrored_later);
                }
            }
        }
        if here && mirrored_later {
            augment::mirror(pixels, size.1);
        }
    }
}

/// A mean image, or a mean colour, as an image of `size` (height, width), rounded to bytes: for
/// [`Loader::with_mean`](super::Loader::with_mean).
pub fn mean_bytes(mean: &[f32], size: (usize, usize)) -> Arc<[u8]> {
    let bytes = mean.iter().map(|value| value.round().clamp(0.0, 255.0) as u8);
    bytes.cycle().take(size.0 * size.1 * 3).collect()
}

/// A mean image, rounded to bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeanBytes<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) width: usize,
}

impl MeanBytes<'_> {
    /// Replaces a rectangle of a crop by what is subtracted from it. The mean image is mirrored if
    /// the device mirrors it with the crop.
    fn fill(&self, pixels: &mut [u8], width: usize, hole: Rectangle, view: View, later: bool) {
        for row in hole.top..hole.top + hole.height {
            for column in hole.left..hole.left + hole.width {
                let from = if view.mirror && later { width - 1 - column } else { column };
                let from = ((view.top + row) * self.width + view.left + from) * 3;
                let to = (row * width + column) * 3;
                pixels[to..to + 3].copy_from_slice(&self.pixels[from..from + 3]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
