//! How pixels become a network's input.

use crate::range::Range;
use augment::ExifMode;
use serde::{Deserialize, Serialize};

/// How pixels become a network's input: `(pixel - mean) * scale`, with pixels from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The mean that is subtracted.
    pub mean: Mean,
    /// The factor after subtraction.
    pub scale: f64,
    /// Side of the square to which images are resized before cropping; by default what the
    /// recipe's crops need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<usize>,
    /// Whether the EXIF orientation of image files is applied.
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    pub exif: ExifMode,
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
    /// The numeric settings, each with its name and valid range.
    pub fn numbers(&self) -> Vec<(String, f64, Range)> {
        let mut table = vec![("input.scale".to_string(), self.scale, SCALE)];
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
