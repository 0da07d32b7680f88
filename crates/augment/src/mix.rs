//! Mixing pairs of images: mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019), drawn as
//! torchvision's `v2.MixUp` and `v2.CutMix` draw them.

use crate::Rectangle;
use random::{Purpose, Stream};

/// Whether and how the images of a batch are mixed. With both, each batch gets one of them with
/// equal probability, as torchvision's references choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixing {
    /// Mixup with lambda from Beta(alpha, alpha).
    pub mixup: Option<f64>,
    /// CutMix with lambda from Beta(alpha, alpha).
    pub cutmix: Option<f64>,
}

/// How the images of a batch are mixed, each with the one before it; the first with the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// The weight of an image's own pixels outside of `cut`; the other image has the rest.
    pub weight: f64,
    /// The rectangle whose pixels are the other image's.
    pub cut: Rectangle,
    /// The weight of an image's own label; the other image's label has the rest.
    pub label: f64,
}

impl Mix {
    /// The weights of an image's own pixels and of the other's, rounded to f32 as torchvision does.
    pub fn weights(&self) -> [f32; 2] {
        crate::jitter::weights_of(self.weight)
    }

    /// The weights of an image's own label and of the other's.
    pub fn label_weights(&self) -> [f32; 2] {
        crate::jitter::weights_of(self.label)
    }
}

impl Mixing {
    /// The mix of a batch in an epoch, for crops of `size` (height, width). `None` if nothing is
    /// mixed.
    ///
    /// # Panics
    /// If a crop has 2^32 or more pixels in a row or column.
    pub fn draw(&self, seed: u64, epoch: u32, batch: u32, size: (usize, usize)) -> Option<Mix> {
        let mut stream = Stream::new(seed, Purpose::Mix, epoch, batch);
        let coin = stream.coin();
        let (alpha, is_cut) = match (self.mixup, self.cutmix) {
            (Some(mixup), Some(cutmix)) => (if coin { cutmix } else { mixup }, coin),
            (Some(alpha), None) => (alpha, false),
            (None, Some(alpha)) => (alpha, true),
            (None, None) => return None,
        };
        let places = [size.0, size.1].map(|side| {
            stream.below(u32::try_from(side).expect("a side below 2^32 pixels")) as usize
        });
        let lambda = beta(&mut stream, alpha);
        Some(if is_cut { Mix::cut(lambda, places, size) } else { Mix::blend(lambda) })
    }
}

impl Mix {
    /// Mixup: every pixel is a weighted mean.
    pub fn blend(lambda: f64) -> Mix {
        let cut = Rectangle { top: 0, left: 0, height: 0, width: 0 };
        Mix { weight: lambda, cut, label: lambda }
    }

    /// CutMix: a rectangle of area `1 - lambda` about a centre (row, column) is the other image's;
    /// it is cut off at the borders of `size`, and the label's weight is the area that is left.
    pub fn cut(lambda: f64, centre: [usize; 2], size: (usize, usize)) -> Mix {
        let half = 0.5 * (1.0 - lambda).sqrt();
        let along = |at: usize, side: usize| {
            let half = (half * side as f64) as usize;
            (at.saturating_sub(half), (at + half).min(side))
        };
        let ((top, bottom), (left, right)) = (along(centre[0], size.0), along(centre[1], size.1));
        let cut = Rectangle { top, left, height: bottom - top, width: right - left };
        let share = (cut.height * cut.width) as f64 / (size.0 * size.1) as f64;
        Mix { weight: 1.0, cut, label: 1.0 - share }
    }
}

/// A draw from Beta(alpha, alpha): one gamma variate over the sum of two. In logarithms, because
/// for small alpha the variates are smaller than any f64.
fn beta(stream: &mut Stream, alpha: f64) -> f64 {
    let [a, b] = [(); 2].map(|()| log_gamma_variate(stream, alpha));
    1.0 / (1.0 + (b - a).exp())
}

/// The logarithm of a draw from Gamma(alpha, 1), by Marsaglia and Tsang's method of 2000.
fn log_gamma_variate(stream: &mut Stream, alpha: f64) -> f64 {
    let log_unit = |stream: &mut Stream| (1.0 - f64::from(stream.unit())).ln();
    // Below one: Gamma(alpha + 1) times U^(1 / alpha).
    let boost = if alpha < 1.0 { log_unit(stream) / alpha } else { 0.0 };
    let d = if alpha < 1.0 { alpha + 1.0 } else { alpha } - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = f64::from(stream.normal());
        let v = (1.0 + c * x).powi(3);
        let u = log_unit(stream);
        if v > 0.0 && u < 0.5 * x * x + d - d * v + d * v.ln() {
            return d.ln() + v.ln() + boost;
        }
    }
}

#[cfg(test)]
mod tests;
