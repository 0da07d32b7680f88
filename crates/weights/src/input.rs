//! How an image enters a network.

use crate::range::Range;
use augment::ExifMode;
use serde::{Deserialize, Serialize};

/// What an image looks like when it enters the network: `(pixel - mean) * scale`, pixels from 0 to
/// 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What is subtracted.
    pub mean: Mean,
    /// What the difference is multiplied by.
    pub scale: f64,
    /// Side of the square that images are brought to before a crop is taken; by default what
    /// a recipe's batch needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<usize>,
    /// What is done about the EXIF orientation of image files.
    #[serde(default, skip_serializing_if = "ExifMode::is_ignore")]
    pub exif: ExifMode,
}

/// What is subtracted from every pixel.
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
    /// Its numbers, each with its name and its range.
    pub fn numbers(&self) -> Vec<(String, f64, Range)> {
        let mut table = vec![("input.scale".to_string(), self.scale, SCALE)];
        table.extend(self.side.map(|side| ("input.side".to_string(), side as f64, SIDE)));
        table
    }

    /// Whether every number lies in its range.
    ///
    /// # Errors
    /// A sentence with the first setting that does not.
    pub fn check(&self) -> Result<(), String> {
        self.numbers().iter().try_for_each(|(name, value, range)| range.check(name, *value))
    }
}
