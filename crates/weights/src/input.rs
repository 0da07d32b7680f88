//! How pixels become a network's input.

use crate::range::Range;
use augment::{CentreRounding, ExifMode};
use serde::{Deserialize, Serialize};

/// How pixels become a network's input: `(pixel - mean) * scale`, with pixels from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The mean that is subtracted.
    pub mean: Mean,
    /// The factor after subtraction.
    pub scale: Scale,
    /// Side of the square to which images are resized before cropping; by default what the
    /// recipe's crops need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<usize>,
    /// Whether the EXIF orientation of image files is applied.
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    pub exif: ExifMode,
    /// How half a pixel is rounded where images are cut to their centre square.
    #[serde(default, skip_serializing_if = "CentreRounding::is_down")]
    pub centre: CentreRounding,
}

/// The factor after the mean is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, or three numbers for red, green and blue")]
pub enum Scale {
    /// One factor for all channels.
    All(f64),
    /// Factors of red, green and blue.
    Channels([f64; 3]),
}

impl Scale {
    /// The factors of red, green and blue.
    pub fn channels(self) -> [f64; 3] {
        match self {
            Scale::All(scale) => [scale; 3],
            Scale::Channels(scales) => scales,
        }
    }
}

impl From<f64> for Scale {
    fn from(scale: f64) -> Scale {
        Scale::All(scale)
    }
}

/// The mean that is subtracted from every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mean {
    /// The training set's mean image, pixel by pixel.
    Image,
    /// The training set's mean colour.
    Color,
}

/// The side of the square that images are resized to.
pub const SIDE: Range = Range::of(1.0, 16_384.0);
const SCALE: Range = Range::of(0.0, 1e6).above();

impl Input {
    /// Images of the size that the recipe's crops need, as they are stored.
    pub fn new(mean: Mean, scale: impl Into<Scale>) -> Input {
        let (exif, centre) = (ExifMode::default(), CentreRounding::default());
        Input { mean, scale: scale.into(), side: None, exif, centre }
    }

    /// The numeric settings, each with its name and valid range.
    pub fn numbers(&self) -> Vec<(String, f64, Range)> {
        let scales: &[f64] = match &self.scale {
            Scale::All(scale) => std::slice::from_ref(scale),
            Scale::Channels(scales) => scales,
        };
        let scale = |&scale: &f64| ("input.scale".to_string(), scale, SCALE);
        let mut table: Vec<_> = scales.iter().map(scale).collect();
        table.extend(self.side.map(|side| ("input.side".to_string(), side as f64, SIDE)));
        table
    }

    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// A message about the first setting that is not.
    pub fn check(&self) -> Result<(), String> {
        self.numbers().iter().try_for_each(|(name, value, range)| range.check(name, *value))
    }
}
