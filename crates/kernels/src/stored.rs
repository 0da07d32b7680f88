//! Weights stored in bf16, in the order in which a device multiplies them.
//!
//! A network for inference reads its weights once per pass and never changes them: in bf16 they
//! take half of the memory and of the traffic. Each element is rounded once, as the passes over f32
//! weights round it every time, so results are bit-identical to theirs.

use crate::{conv, linear};
use tensor::{Device, Result, Slot, Target};

/// A layer whose weights can be stored in bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredWeights {
    /// The filters of a convolution.
    Conv(conv::Geometry),
    /// The weights of a fully connected layer.
    Linear(linear::Geometry),
}

impl StoredWeights {
    /// bf16 elements of the weights on such a device; 0 if the device reads them in f32.
    pub fn len(&self, target: Target) -> usize {
        match self {
            StoredWeights::Conv(g) => g.stored_len(target),
            StoredWeights::Linear(g) => g.stored_len(target),
        }
    }

    /// Rounds the weights, in host memory, into a bf16 slot of [`len`](Self::len) elements.
    ///
    /// # Errors
    /// [`Error::NoKernel`](tensor::Error::NoKernel) on a GPU.
    ///
    /// # Panics
    /// If `values` or `stored` has another length.
    pub fn store(&self, device: &mut Device, values: &[f32], stored: Slot) -> Result<()> {
        match self {
            StoredWeights::Conv(g) => conv::store_weights(device, g, values, stored),
            StoredWeights::Linear(g) => linear::store_weights(device, g, values, stored),
        }
    }
}
