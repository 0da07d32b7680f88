//! The fully connected layer: `y = x w^T + b`, with a ReLU if one follows.
//!
//! `x[n][i]`: images x inputs; `w[o][i]`: outputs x inputs; `y[n][o]`: images x outputs. Backward,
//! for the gradient `dy` of `y` (already masked by the ReLU):
//!
//! * `dx[n][i] = sum over o of dy[n][o] w[o][i]`
//! * `dw[o][i] = sum over n of dy[n][o] x[n][i]`, `db[o] = sum over n of dy[n][o]`
//!
//! The floor is memory: w is read once for forward and once for dx, dw written once; fc6 of AlexNet
//! is 151 MB each time, against 128 images x 37.7 million multiply-accumulates.
//!
//! On a CPU in f32 a few images (eight at most) go forward another way than many, with other
//! roundings: the bits of an image's output can depend on how many images there are.

mod bf16;
mod cpu;
mod cuda;
mod few_images;
pub mod reference;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use cpu::sum_rows;

use tensor::{Device, Result, Shape, Slot, Target};

/// The sizes of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows of `x` and `y`.
    pub images: usize,
    /// Numbers an image has.
    pub inputs: usize,
    /// Units.
    pub outputs: usize,
    /// `y = max(0, ...)`.
    pub relu: bool,
}

impl Geometry {
    /// Floats of scratch memory that any of the three passes needs on such a device.
    pub fn scratch(&self, target: Target) -> usize {
        match target {
            Target::Cpu { threads } => cpu::scratch(self, threads),
            Target::CpuBf16 { threads } => bf16::scratch(self, threads),
            Target::Cuda => cuda::scratch(self),
        }
    }

    fn check(&self, operands: [(Slot, [usize; 2]); 3]) {
        for (slot, [rows, columns]) in operands {
            let expected = Shape::from([rows, columns]);
            assert_eq!(slot.len(), expected.len(), "a slot of {} for {expected}", slot.shape());
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

/// `y = x w^T + b`, or the positive part of it.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot is not of the geometry's size.
pub fn forward(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    w: Slot,
    b: Slot,
    y: Slot,
    scratch: Slot,
) -> Result<()> {
    g.check([(x, g.x()), (w, g.w()), (y, g.y())]);
    g.check_bias(b);
    match device {
        Device::Cpu(device) => cpu::forward(device, g, x, w, b, y, scratch),
        Device::Cuda(device) => cuda::forward(device, g, [x, w, b, y, scratch]),
    }
}

/// `dx = dy w`; `dy` is already masked by the ReLU.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot is not of the geometry's size.
pub fn backward_input(
    device: &mut Device,
    g: &Geometry,
    dy: Slot,
    w: Slot,
    dx: Slot,
    scratch: Slot,
) -> Result<()> {
    g.check([(dy, g.y()), (w, g.w()), (dx, g.x())]);
    match device {
        Device::Cpu(device) => cpu::backward_input(device, g, dy, w, dx, scratch),
        Device::Cuda(device) => cuda::backward_input(device, g, [dy, w, dx, scratch]),
    }
}

/// `dw = dy^T x` and `db`, the column sums of `dy`; `dy` is already masked by the ReLU.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot is not of the geometry's size.
pub fn backward_weights(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    dy: Slot,
    dw: Slot,
    db: Slot,
    scratch: Slot,
) -> Result<()> {
    g.check([(x, g.x()), (dy, g.y()), (dw, g.w())]);
    g.check_bias(db);
    match device {
        Device::Cpu(device) => cpu::backward_weights(device, g, x, dy, dw, db, scratch),
        Device::Cuda(device) => cuda::backward_weights(device, g, [x, dy, dw, db, scratch]),
    }
}
