//! The fully connected layer: `y = x w^T + b`, with an optional ReLU.
//!
//! `x[n][i]`: images x inputs; `w[o][i]`: outputs x inputs; `y[n][o]`: images x outputs. Backward,
//! for the gradient `dy` of `y`, with the ReLU's mask already applied:
//!
//! * `dx[n][i] = sum over o of dy[n][o] w[o][i]`
//! * `dw[o][i] = sum over n of dy[n][o] x[n][i]`, `db[o] = sum over n of dy[n][o]`
//!
//! Memory bound for small batches: w is read once for y and once for dx, dw is written once. In
//! AlexNet's fc6 that is 151 MB each time, against 128 images x 37.7 million multiply-adds.
//!
//! On a CPU in f32, the forward pass of at most eight images uses another algorithm, whose rounding
//! differs: the output for an image can depend on the number of images in the batch.

mod bf16;
mod cpu;
mod cuda;
mod few_images;
pub mod reference;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use cpu::sum_rows;
pub(crate) use cuda::GPU_KERNELS;

use crate::operands::{BackwardInput, BackwardWeights, Forward};
use crate::value;
use tensor::{DType, Device, Result, Shape, Slot, Target};

/// The sizes of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows of `x` and `y`.
    pub images: usize,
    /// Elements of an image.
    pub inputs: usize,
    /// Units.
    pub outputs: usize,
    /// `y = max(0, ...)`.
    pub relu: bool,
}

impl Geometry {
    /// Floats of scratch memory that suffice for each of the three passes on such a device.
    pub fn scratch(&self, target: Target) -> usize {
        match target {
            Target::Cpu { threads } => cpu::scratch(self, threads),
            Target::CpuBf16 { threads } => bf16::scratch(self, threads),
            Target::Cuda => cuda::scratch(self),
        }
    }

    /// bf16 elements of the weights that [`store_weights`] writes on such a device; 0 if the device
    /// reads them in f32.
    pub fn stored_len(&self, target: Target) -> usize {
        match target {
            Target::CpuBf16 { .. } => bf16::stored_len(self),
            Target::Cpu { .. } | Target::Cuda => 0,
        }
    }

    fn check_weights(&self, w: Slot) {
        match w.dtype() {
            DType::Bf16 => assert_eq!(w.len(), bf16::stored_len(self), "weights of {self:?}"),
            _ => self.check([(w, self.w())]),
        }
    }

    fn check<const N: usize>(&self, operands: [(Slot, [usize; 2]); N]) {
        for (slot, [rows, columns]) in operands {
            let expected = Shape::from([rows, columns]);
            assert_eq!(
                slot.len(),
                expected.len(),
                "a slot of shape {} for {expected}",
                slot.shape()
            );
        }
    }

    fn check_bias(&self, bias: Slot) {
        assert_eq!(bias.len(), self.outputs, "a bias of {} for {} units", bias.len(), self.outputs);
    }

    fn x(&self) -> [usize; 2] {
        [self.images, self.inputs]
    }

    fn w(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    fn y(&self) -> [usize; 2] {
        [self.images, self.outputs]
    }
}

/// Rounds the weights `w[o][i]`, in host memory, to bf16 and stores them in the order in which
/// [`forward`] multiplies them. Denormal values become zero.
///
/// # Errors
/// [`Error::NoKernel`](tensor::Error::NoKernel) on a GPU.
///
/// # Panics
/// If `stored` is not a bf16 slot of [`Geometry::stored_len`] elements, or `w` has another length
/// than `outputs x inputs`.
pub fn store_weights(device: &mut Device, g: &Geometry, w: &[f32], stored: Slot) -> Result<()> {
    assert_eq!(w.len(), g.outputs * g.inputs, "weights of {g:?}");
    match device {
        Device::Cpu(cpu) => {
            assert_eq!(stored.len(), bf16::stored_len(g), "stored weights of {g:?}");
            cpu::store_weights(cpu, g, w, stored);
            Ok(())
        }
        Device::Cuda(cuda) => value::lacks_bf16(cuda, "linear layers with bf16 weights"),
    }
}

/// `y = x w^T + b`, rectified if `relu` is set. w is f32, or bf16 by [`store_weights`].
///
/// # Errors
/// If the device fails; [`Error::NoKernel`](tensor::Error::NoKernel) for bf16 weights on a GPU.
///
/// # Panics
/// If a slot does not have the geometry's size.
pub fn forward(device: &mut Device, g: &Geometry, operands: Forward) -> Result<()> {
    let Forward { x, w, b, y, scratch } = operands;
    g.check([(x, g.x()), (y, g.y())]);
    g.check_weights(w);
    g.check_bias(b);
    match device {
        Device::Cpu(cpu) => {
            cpu::forward(cpu, g, operands);
            Ok(())
        }
        Device::Cuda(cuda) if w.dtype() == DType::Bf16 => {
            value::lacks_bf16(cuda, "linear layers with bf16 weights")
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, w, b, y, scratch]),
    }
}

/// `dx = dy w`, where the ReLU's mask is already applied to `dy`.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not have the geometry's size.
pub fn backward_input(device: &mut Device, g: &Geometry, operands: BackwardInput) -> Result<()> {
    let BackwardInput { dy, w, dx, scratch } = operands;
    g.check([(dy, g.y()), (w, g.w()), (dx, g.x())]);
    match device {
        Device::Cpu(cpu) => {
            cpu::backward_input(cpu, g, operands);
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_input(cuda, g, [dy, w, dx, scratch]),
    }
}

/// `dw = dy^T x` and `db`, the column sums of `dy`, with the ReLU's mask already applied to `dy`.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not have the geometry's size.
pub fn backward_weights(
    device: &mut Device,
    g: &Geometry,
    operands: BackwardWeights,
) -> Result<()> {
    let BackwardWeights { x, dy, dw, db, scratch } = operands;
    g.check([(x, g.x()), (dy, g.y()), (dw, g.w())]);
    g.check_bias(db);
    match device {
        Device::Cpu(cpu) => {
            cpu::backward_weights(cpu, g, operands);
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_weights(cuda, g, [x, dy, dw, db, scratch]),
    }
}
