//! `--layout`.

use clap::ValueEnum;
use inference::features::Layout;

/// The order of the values of feature maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// Height, width, channel
    #[default]
    Nhwc,
    /// Channel, height, width, as PyTorch does
    Nchw,
}

impl From<LayoutArg> for Layout {
    fn from(typed: LayoutArg) -> Layout {
        match typed {
            LayoutArg::Nhwc => Layout::Nhwc,
            LayoutArg::Nchw => Layout::Nchw,
        }
    }
}
