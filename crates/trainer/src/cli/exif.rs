//! `--exif`.

use clap::ValueEnum;
use data::ExifMode;

/// Whether the EXIF orientation of image files is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExifArg {
    /// Use pixels as stored, as torchvision does
    Ignore,
    /// Rotate and mirror images upright
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
