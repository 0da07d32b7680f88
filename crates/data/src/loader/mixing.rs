//! Mixing the images of a batch in pairs.

use super::Batch;
use augment::Mix;

/// The image before the first of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Previous {
    pub(super) pixels: Vec<u8>,
    pub(super) label: u32,
    pub(super) draw: u32,
}

impl Batch {
    /// Mixes every image with the one before it, the first with `previous`; `width` is that of a
    /// crop in pixels.
    pub(super) fn mix_rows(&mut self, mix: &Mix, previous: &Previous, width: usize) {
        let Batch { pixels, images, labels, draws, .. } = self;
        let rows = *images;
        for others in [&mut self.other_labels, &mut self.other_draws] {
            others.clear();
            others.resize(labels.len(), super::IGNORED);
        }
        if rows == 0 {
            return;
        }
        self.other_labels[0] = previous.label;
        self.other_draws[0] = previous.draw;
        self.other_labels[1..rows].copy_from_slice(&labels[..rows - 1]);
        self.other_draws[1..rows].copy_from_slice(&draws[..rows - 1]);
        let bytes = pixels.len() / labels.len();
        for row in (1..rows).rev() {
            let (before, own) = pixels.split_at_mut(row * bytes);
            mix_pixels(mix, &mut own[..bytes], &before[(row - 1) * bytes..], width);
        }
        mix_pixels(mix, &mut pixels[..bytes], &previous.pixels, width);
    }
}

/// Mixes an image with another, rounding to the nearest byte.
fn mix_pixels(mix: &Mix, own: &mut [u8], other: &[u8], width: usize) {
    let [weight, rest] = mix.weights();
    if weight < 1.0 {
        for (own, &other) in own.iter_mut().zip(other) {
            // Nothing is negative: adding a half rounds to the nearest.
            *own = (f32::from(*own) * weight + f32::from(other) * rest + 0.5) as u8;
        }
    }
    let cut = mix.cut;
    for row in cut.top..cut.top + cut.height {
        let start = (row * width + cut.left) * 3;
        let row = start..start + cut.width * 3;
        own[row.clone()].copy_from_slice(&other[row]);
    }
}
