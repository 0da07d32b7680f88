//! Random operations: RandAugment and TrivialAugmentWide, with torchvision's tables of magnitudes.

use crate::operation::Operation;
use random::{Purpose, Stream};

/// How many operations a policy chooses from.
const CHOICES: u32 = 14;

/// A rule by which operations are drawn for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Policy {
    /// Cubuk et al. 2019: `ops` operations, drawn independently, all of the same magnitude.
    RandAugment {
        /// Operations per image.
        ops: u32,
        /// The magnitude, below `bins`.
        magnitude: u32,
        /// The number of magnitudes; 31 in torchvision.
        bins: u32,
    },
    /// Mueller and Hutter 2021: one operation, of a magnitude that is drawn, too, from wider
    /// ranges.
    TrivialAugmentWide {
        /// The number of magnitudes; 31 in torchvision.
        bins: u32,
    },
}

impl Policy {
    /// Draws the operations of a sample in an epoch, for an image of `size` (height, width), and
    /// passes them to `apply` in order.
    pub fn draw(
        &self,
        seed: u64,
        epoch: u32,
        sample: u32,
        size: (usize, usize),
        mut apply: impl FnMut(Operation),
    ) {
        let mut stream = Stream::new(seed, Purpose::AutoAugment, epoch, sample);
        // Always three draws for an operation, so that no draw depends on another's outcome.
        let mut next = |magnitude: Option<u32>, bins: u32| {
            let (choice, drawn, negative) =
                (stream.below(CHOICES), stream.below(bins), stream.coin());
            self.operation(choice, magnitude.unwrap_or(drawn), negative, size)
        };
        match *self {
            Policy::RandAugment { ops, magnitude, bins } => {
                (0..ops).for_each(|_| apply(next(Some(magnitude), bins)));
            }
            Policy::TrivialAugmentWide { bins } => apply(next(None, bins)),
        }
    }

    /// Operation `choice` of the policy's list, at a magnitude below its number of bins; if it has
    /// a sign, the magnitude is negated on request.
    ///
    /// # Panics
    /// If `choice` is not below 14.
    pub fn operation(
        &self,
        choice: u32,
        magnitude: u32,
        negative: bool,
        size: (usize, usize),
    ) -> Operation {
        let (height, width) = size;
        let share = 150.0 / 331.0;
        let (bins, shear, translate, angle, factor, bits) = match *self {
            Policy::RandAugment { bins, .. } => {
                (bins, 0.3, [share * width as f64, share * height as f64], 30.0, 0.9, 4.0)
            }
            Policy::TrivialAugmentWide { bins } => (bins, 0.99, [32.0; 2], 135.0, 0.99, 6.0),
        };
        let signed = |end: f64| {
            let value = linspace(0.0, end as f32, bins, magnitude);
            if negative { -value } else { value }
        };
        match choice {
            0 => Operation::Identity,
            1 => Operation::ShearX(signed(shear)),
            2 => Operation::ShearY(signed(shear)),
            3 => Operation::TranslateX(signed(translate[0]) as i32),
            4 => Operation::TranslateY(signed(translate[1]) as i32),
            5 => Operation::Rotate(signed(angle)),
            6 => Operation::Brightness(1.0 + signed(factor)),
            7 => Operation::Color(1.0 + signed(factor)),
            8 => Operation::Contrast(1.0 + signed(factor)),
            9 => Operation::Sharpness(1.0 + signed(factor)),
            10 => {
                let step = ((f64::from(bins) - 1.0) / bits) as f32;
                Operation::Posterize(8 - (magnitude as f32 / step).round_ties_even() as u32)
            }
            11 => Operation::Solarize(linspace(255.0, 0.0, bins, magnitude) as f32),
            12 => Operation::AutoContrast,
            13 => Operation::Equalize,
            _ => panic!("operation {choice} of {CHOICES}"),
        }
    }
}

/// Value `index` of `torch.linspace(start, end, count)` in f32: counted from the nearer end, with
/// a fused multiply-add.
fn linspace(start: f32, end: f32, count: u32, index: u32) -> f64 {
    if count < 2 {
        return start.into();
    }
    let step = (end - start) / (count - 1) as f32;
    let value = if index < count / 2 {
        step.mul_add(index as f32, start)
    } else {
        (-step).mul_add((count - 1 - index) as f32, end)
    };
    value.into()
}
