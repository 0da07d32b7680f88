//! `--exif`.

use clap::ValueEnum;
use data::ExifMode;

/// What is done about the EXIF orientation of image files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExifArg {
    /// Pixels stay as they are stored, as in torchvision
    Ignore,
    /// Images are rotated and mirrored upright
    Apply,
}

impl From<ExifArg> for ExifMode {
    fn from(typed: ExifArg) -> ExifMode {
        match typed {
            ExifArg::Ignore => ExifMode::Ignore,
            ExifArg::Apply => ExifMode::Apply,
        }
    }
}
