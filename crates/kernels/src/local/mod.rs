//! A locally connected layer: a convolution whose filters are not shared between pixels, with bias
//! and an optional ReLU.
//!
//! ```text
//! y[i, j, f] = b[i, j, f] + sum over kh, kw, c of
//!              w[i, j, f, kh, kw, c] x[stride i + kh - top, stride j + kw - left, c]
//! ```
//!
//! for every image, where x is zero outside the image. Every output pixel has its own filters and
//! biases (cuda-convnet's `local`: "like convolutional layers, but without weight-sharing").
//! Activations are NHWC. The filters of output pixel (0, 0) come first, then those of (0, 1) and so
//! on; each pixel's are stored like a convolution's: OHWI.

mod cpu;
mod cuda;
pub mod reference;

#[cfg(test)]
mod tests;

use crate::gemm::Isa;
use crate::operands::{BackwardInput, BackwardWeights, Forward};
use crate::windows::WindowGeometry;
use std::ops::Deref;
use tensor::{Device, Result, Shape, Target};

/// The sizes of a locally connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Those of the convolution with the same windows, whose filters are shared.
    pub windows: WindowGeometry,
}

impl Deref for Geometry {
    type Target = WindowGeometry;

    fn deref(&self) -> &WindowGeometry {
        &self.windows
    }
}

impl Geometry {
    /// Pixels of an output image.
    fn pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// `[out_height x out_width x filters, window height, window width, channels / groups]`
    pub fn filter_shape(&self) -> Shape {
        let filters = self.pixels() * self.filters;
        Shape::from([filters, self.window.0, self.window.1, self.channels / self.groups])
    }

    /// `[out_height x out_width x filters]`
    pub fn bias_shape(&self) -> Shape {
        Shape::from([self.pixels() * self.filters])
    }

    /// Multiply-adds of a forward pass for one image, including those with zeros of the padding.
    pub fn macs_per_image(&self) -> usize {
        self.filter_shape().len()
    }

    /// Floats of scratch memory that suffice for each of the three passes on such a device.
    pub fn scratch(&self, target: Target) -> usize {
        match target {
            Target::Cpu { threads } | Target::CpuBf16 { threads } => {
                cpu::scratch(Isa::best(), self, threads)
            }
            Target::Cuda => 0,
        }
    }
}

/// `y = local(x, w) + b`, rectified if `relu` is set.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not have the geometry's length, or the scratch memory is too small.
pub fn forward(device: &mut Device, g: &Geometry, operands: Forward) -> Result<()> {
    let Forward { x, w, b, y, scratch } = operands;
    g.check();
    g.expect(&[("x", x, g.in_shape()), ("y", y, g.out_shape())]);
    g.expect(&[("w", w, g.filter_shape()), ("b", b, g.bias_shape())]);
    match device {
        Device::Cpu(cpu) => {
            let ([x, w, b, y, scratch], pool) = cpu.floats_with_pool([x, w, b, y, scratch]);
            cpu::forward(Isa::best(), pool, g, Forward { x: &*x, w: &*w, b: &*b, y, scratch });
            Ok(())
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, w, b, y]),
    }
}

/// Writes `dx`, the gradient of the input. `dy` is the gradient before the ReLU.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(device: &mut Device, g: &Geometry, operands: BackwardInput) -> Result<()> {
    let BackwardInput { dy, w, dx, scratch } = operands;
    g.check();
    g.expect(&[("dx", dx, g.in_shape()), ("dy", dy, g.out_shape()), ("w", w, g.filter_shape())]);
    match device {
        Device::Cpu(cpu) => {
            let ([dy, w, dx, scratch], pool) = cpu.floats_with_pool([dy, w, dx, scratch]);
            let operands = BackwardInput { dy: &*dy, w: &*w, dx, scratch };
            cpu::backward_input(Isa::best(), pool, g, operands);
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_input(cuda, g, [dy, w, dx]),
    }
}

/// Writes `dw` and `db`, the gradients of filters and biases. `dy` is the gradient before the ReLU.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`forward`].
pub fn backward_filter(device: &mut Device, g: &Geometry, operands: BackwardWeights) -> Result<()> {
    let BackwardWeights { x, dy, dw, db, scratch } = operands;
    g.check();
    g.expect(&[("x", x, g.in_shape()), ("dy", dy, g.out_shape())]);
    g.expect(&[("dw", dw, g.filter_shape()), ("db", db, g.bias_shape())]);
    match device {
        Device::Cpu(cpu) => {
            let ([x, dy, dw, db, scratch], pool) = cpu.floats_with_pool([x, dy, dw, db, scratch]);
            let operands = BackwardWeights { x: &*x, dy: &*dy, dw, db, scratch };
            cpu::backward_filter(Isa::best(), pool, g, operands);
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_filter(cuda, g, [x, dy, dw, db]),
    }
}
