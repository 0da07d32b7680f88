//! Rows that normalise.

use kernels::lrn;
use serde::{Deserialize, Serialize};

/// Local response normalisation (section 3.3): y = x (k + alpha sum x^2)^-beta. The defaults are
/// the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lrn {
    /// n: channels in a window, or the side of a window within the map.
    pub size: usize,
    /// alpha.
    pub alpha: f32,
    /// beta.
    pub beta: f32,
    /// k.
    pub k: f32,
    /// Divide alpha by the number of terms, as the 2012 source, Caffe and PyTorch do; the paper's
    /// formula does not.
    pub divide_alpha: bool,
    /// Windows end at the edges of this many equal towers of channels.
    pub towers: usize,
    /// The window lies in the map, over pixels of one channel, instead of over channels.
    pub within_channel: bool,
}

impl Default for Lrn {
    fn default() -> Lrn {
        Lrn {
            size: 5,
            alpha: 1e-4,
            beta: 0.75,
            k: 2.0,
            divide_alpha: false,
            towers: 1,
            within_channel: false,
        }
    }
}

impl Lrn {
    pub(crate) fn region(&self) -> lrn::Region {
        match self.within_channel {
            true => lrn::Region::WithinChannel,
            false => lrn::Region::AcrossChannels { towers: self.towers },
        }
    }
}
