//! Normalisation rows.

use kernels::lrn;
use serde::{Deserialize, Serialize};

/// Local response normalisation (section 3.3): y = x (k + alpha sum x^2)^-beta. The defaults are
/// the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lrn {
    /// n: channels in a window, or the side of a window within a feature map.
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
    /// Number of equal towers of channels; windows do not extend over a tower's edge.
    pub towers: usize,
    /// Normalise over pixels of one channel instead of over channels of one pixel.
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
        if self.within_channel {
            lrn::Region::WithinChannel
        } else {
            lrn::Region::AcrossChannels { towers: self.towers }
        }
    }
}

/// Batch normalisation (Ioffe and Szegedy 2015). The defaults are PyTorch's.
///
/// Its parameters are a scale and a shift for each channel, and the running mean and variance used
/// at test time. The running statistics are not trained by a gradient, but stored like the other
/// parameters. Each micro-shard of a batch is normalised by its own mean and variance; the running
/// ones are updated with their average, weighted by the shards' images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// Weight of the batch in the running mean and variance.
    pub momentum: f32,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm { epsilon: 1e-5, momentum: 0.1 }
    }
}

/// Layer normalisation (Ba, Kiros and Hinton 2016): over the channels of each pixel, as in
/// ConvNeXt, or over all units of an image after a linear row. A scale and a shift for each channel
/// or unit are learned. The default is PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerNorm {
    /// Added to the variance.
    pub epsilon: f32,
}

impl Default for LayerNorm {
    fn default() -> LayerNorm {
        LayerNorm { epsilon: 1e-5 }
    }
}
