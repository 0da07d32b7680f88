//! Max and average pooling over square windows, which overlap where stride < window (section 3.4).
//!
//! Along each side, output pixel o covers the input pixels o * stride - pad ..= o * stride - pad +
//! window - 1 that exist. With in, z, s, p for the extent, window, stride and padding there are
//!
//! ```text
//! out = 1 + floor((in + 2p - z) / s)     or ceil: then the last window may extend over the edge
//! ```
//!
//! With ceil, a window that would start beyond the input and its leading padding is dropped.
//!
//! * `Max`: y is the maximum; NaN counts as the greatest value, so that it shows. dy is added to
//!   every input that equals the maximum (`Ties::All`, the 2012 source) or to the first in reading
//!   order (`Ties::First`, Caffe and PyTorch).
//! * `Average`: divides by the number of pixels that exist.

pub(crate) mod cpu;
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::value::{self, any_in_bf16};
use std::ops::Range;
use tensor::{Device, Result, Shape, Slot};

/// Which of several equal maxima receives the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ties {
    /// All of them; each receives the whole gradient.
    All,
    /// The first in reading order.
    First,
}

/// What a window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// The maximum.
    Max {
        /// Which of equal maxima receives the gradient.
        ties: Ties,
    },
    /// The mean of the pixels that exist.
    Average,
}

/// An input of `[images, height, width, channels]`, and the windows over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images in the batch.
    pub images: usize,
    /// Height of the input map.
    pub height: usize,
    /// Width of the input map.
    pub width: usize,
    /// Channels, pooled independently.
    pub channels: usize,
    /// What a window is reduced to.
    pub reduction: Reduction,
    /// z: the side of a window.
    pub window: usize,
    /// s: pixels from one window to the next.
    pub stride: usize,
    /// Pixels around the map that windows may cover but that do not exist. Less than the window.
    pub pad: usize,
    /// Round the output's size up: the last window may extend over the edge.
    pub ceil: bool,
}

impl Geometry {
    /// The shape of x.
    pub fn in_shape(&self) -> Shape {
        Shape::from([self.images, self.height, self.width, self.channels])
    }

    /// The shape of y.
    pub fn out_shape(&self) -> Shape {
        Shape::from([self.images, self.out_height(), self.out_width(), self.channels])
    }

    /// Height of the output map.
    pub fn out_height(&self) -> usize {
        self.out_extent(self.height)
    }

    /// Width of the output map.
    pub fn out_width(&self) -> usize {
        self.out_extent(self.width)
    }

    fn out_extent(&self, extent: usize) -> usize {
        let span = (extent + 2 * self.pad).checked_sub(self.window);
        let span = span.unwrap_or_else(|| {
            panic!("a window of {} over {extent} pixels, {} padding", self.window, self.pad)
        });
        if !self.ceil {
            return span / self.stride + 1;
        }
        let out = span.div_ceil(self.stride) + 1;
        let last_starts_inside = (out - 1) * self.stride < extent + self.pad;
        if last_starts_inside { out } else { out - 1 }
    }

    /// The input rows (or columns), of `extent`, that output row `out` covers.
    pub(crate) fn covered(&self, out: usize, extent: usize) -> Range<usize> {
        let begin = out * self.stride;
        begin.saturating_sub(self.pad)..(begin + self.window - self.pad).min(extent)
    }

    /// The output rows (or columns), of `out_extent`, whose windows cover input row `at`.
    pub(crate) fn covering(&self, at: usize, out_extent: usize) -> Range<usize> {
        let end = (at + self.pad) / self.stride + 1;
        let begin = (at + self.pad + 1).saturating_sub(self.window).div_ceil(self.stride);
        begin.min(out_extent)..end.min(out_extent)
    }

    pub(crate) fn check(&self, inputs: &[Slot], outputs: &[Slot]) {
        assert!(self.stride > 0, "a stride of zero");
        assert!(
            self.pad < self.window,
            "padding {} in a window of {}: some windows would cover no pixel",
            self.pad,
            self.window
        );
        for (slots, shape) in [(inputs, self.in_shape()), (outputs, self.out_shape())] {
            let fit = slots.iter().all(|slot| slot.len() == shape.len());
            assert!(fit, "operands {slots:?} do not have shape {shape:?}");
        }
    }
}

/// y from x. On a CPU, each may be bf16.
///
/// # Errors
/// If the device fails; [`Error::NoKernel`](tensor::Error::NoKernel) for bf16 on a GPU.
///
/// # Panics
/// If an operand does not have the geometry's shape, or a window could lie entirely in the padding,
/// here and below.
pub fn forward(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(&[x], &[y]);
    match device {
        Device::Cpu(cpu) => cpu::forward(cpu, g, x, y),
        Device::Cuda(cuda) if any_in_bf16([x, y]) => {
            value::lacks_bf16(cuda, "pooling of bf16 values")
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, x, y),
    }
}

/// dx from dy; x and y show where each maximum was.
///
/// # Errors
/// If the device fails.
pub fn backward(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    y: Slot,
    dy: Slot,
    dx: Slot,
) -> Result<()> {
    g.check(&[x, dx], &[y, dy]);
    match device {
        Device::Cpu(cpu) => cpu::backward(cpu, g, [x, y, dy, dx]),
        Device::Cuda(cuda) => cuda::backward(cuda, g, false, [x, y, dy, dx]),
    }
}

/// Whether the gradient of x can be written over x: if a pixel's gradient needs no other pixel's x.
pub fn fits_in_place(reduction: Reduction) -> bool {
    match reduction {
        Reduction::Max { ties: Ties::All } | Reduction::Average => true,
        Reduction::Max { ties: Ties::First } => false,
    }
}

/// [`backward`], but dx is written over x. If x is the output of a ReLU (`relu`), its mask is
/// applied: the gradient is zero where x <= 0.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// Also if the reduction does not [fit in place](fits_in_place).
pub fn backward_in_place(
    device: &mut Device,
    g: &Geometry,
    relu: bool,
    y: Slot,
    dy: Slot,
    x: Slot,
) -> Result<()> {
    g.check(&[x], &[y, dy]);
    assert!(fits_in_place(g.reduction), "{:?} needs x at other pixels", g.reduction);
    match device {
        Device::Cpu(cpu) => cpu::backward_in_place(cpu, g, relu, [y, dy, x]),
        Device::Cuda(cuda) => cuda::backward(cuda, g, relu, [x, y, dy, x]),
    }
}
