//! Whether the orientation in EXIF data is applied.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How the EXIF orientation of image files is handled. A setting of a run, because weights are
/// trained with one or the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExifMode {
    /// Pixels are used as stored, as in torchvision.
    #[default]
    Ignore,
    /// Images are mirrored and rotated according to their orientation, as by Pillow's
    /// `exif_transpose`.
    Apply,
}

impl ExifMode {
    /// Whether this is the default; for serialisation.
    pub fn is_ignore(&self) -> bool {
        *self == ExifMode::Ignore
    }
}

impl ExifMode {
    /// The message about `count` images, `first` among them, with an orientation that differs from
    /// the stored one.
    pub fn note(self, count: usize, first: &str) -> String {
        let have = if count == 1 { "1 image has" } else { &format!("{count} images have") };
        let done = match self {
            ExifMode::Ignore => {
                "which is ignored, as torchvision does (EXIF mode `apply` rotates them)"
            }
            ExifMode::Apply => "which is applied",
        };
        format!("{have} an EXIF orientation, {done}, e.g. {first}")
    }
}

impl fmt::Display for ExifMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExifMode::Ignore => "ignore",
            ExifMode::Apply => "apply",
        })
    }
}

impl FromStr for ExifMode {
    type Err = String;

    fn from_str(text: &str) -> Result<ExifMode, String> {
        match text {
            "ignore" => Ok(ExifMode::Ignore),
            "apply" => Ok(ExifMode::Apply),
            _ => Err(format!("`{text}` is neither `ignore` nor `apply`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_parsed_as_displayed() {
        for mode in [ExifMode::Ignore, ExifMode::Apply] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("Apply".parse::<ExifMode>().is_err());
    }
}
