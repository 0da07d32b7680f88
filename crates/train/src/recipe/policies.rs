//! Settings of RandAugment and random erasing.

use augment::{EraseFill, Erasing};
use serde::{Deserialize, Serialize};

/// RandAugment with torchvision's 31 magnitudes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Operations per image.
    pub ops: u32,
    /// Their magnitude, from 0 to 30.
    pub magnitude: u32,
}

/// Magnitudes of RandAugment and TrivialAugment: torchvision's `num_magnitude_bins`.
pub(super) const MAGNITUDES: u32 = 31;

impl Default for RandAugment {
    fn default() -> RandAugment {
        RandAugment { ops: 2, magnitude: 9 }
    }
}

/// Random erasing: torchvision's `RandomErasing`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erase {
    /// The share of images that lose a rectangle.
    pub probability: f64,
    /// Least and greatest area, as shares of the image's.
    pub area: [f64; 2],
    /// Least and greatest height over width.
    pub aspect: [f64; 2],
    /// What replaces the pixels.
    pub value: EraseValue,
}

impl Default for Erase {
    /// torchvision's defaults.
    fn default() -> Erase {
        let Erasing { area, aspect, .. } = Erasing::default();
        Erase { probability: 0.5, area, aspect, value: EraseValue::Word(EraseWord::Mean) }
    }
}

/// What replaces erased pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "recipe.augment.erase.value is \"mean\", \"random\" or a colour of three bytes, \
                 such as [124, 116, 104]"
)]
pub enum EraseValue {
    /// A word.
    Word(EraseWord),
    /// Red, green and blue.
    Color([u8; 3]),
}

/// What replaces erased pixels, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraseWord {
    /// The mean that is subtracted, rounded to a byte.
    Mean,
    /// Random bytes.
    Random,
}

impl Erase {
    /// The distribution of a loader.
    pub(super) fn erasing(&self) -> Erasing {
        let fill = match self.value {
            EraseValue::Word(EraseWord::Mean) => EraseFill::Mean,
            EraseValue::Word(EraseWord::Random) => EraseFill::Noise,
            EraseValue::Color(color) => EraseFill::Color(color),
        };
        let Erase { probability, area, aspect, .. } = *self;
        Erasing { probability, area, aspect, fill }
    }
}
