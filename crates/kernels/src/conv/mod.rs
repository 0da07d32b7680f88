//! Convolution with bias and an optional ReLU.
//!
//! ```text
//! y[i, j, f] = b[f] + sum over kh, kw, c of
//!              w[f, kh, kw, c] x[stride i + kh - top, stride j + kw - left, c]
//! ```
//!
//! for every image, where x is zero outside the image. With groups, filter f covers only the
//! channels of its own group (section 3.5 of the paper: its two GPUs). Activations are NHWC,
//! filters OHWI.

mod cpu;
mod cuda;
pub mod reference;

#[cfg(test)]
pub(crate) mod tests;

use crate::gemm::Isa;
use crate::gemm::amx::MatrixUnit;
use crate::operands::{
    BackwardInput, BackwardInputSlices, BackwardWeights, BackwardWeightsSlices, Forward,
    ForwardSlices,
};
use cpu::bf16;
use tensor::{DType, Device, Precision, Result, Shape, Slot, Target};

/// Zeros around an image, for each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pad {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Pad {
    /// `n` zeros on every side.
    pub fn same(n: usize) -> Pad {
        Pad { top: n, bottom: n, left: n, right: n }
    }

    /// No padding.
    pub fn none() -> Pad {
        Pad::same(0)
    }
}

/// The algorithm of a convolution on a CPU in f32. In bf16, and on a GPU, convolutions are direct
/// (cuDNN aside).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// For each pass the algorithm that is faster, by a rule that depends on the geometry only: few
    /// images or channels are convolved directly. So an image's output can depend on the number of
    /// images in the batch.
    #[default]
    Fastest,
    /// Every product of the formula is computed.
    Direct,
    /// Winograd's algorithm with fewer multiplications, where stride and window allow: the window
    /// is square and its side, divided by the stride and rounded up, is 3 or 5. With a stride of
    /// more than 1 there must be no groups, and the gradient of the input is direct. Elsewhere
    /// direct.
    ///
    /// Errors are larger. With the shapes of AlexNet's conv3, conv2 and conv1 (3 x 3, 5 x 5 and 11
    /// x 11), relative to the root mean square of the result, in units of 1e-7:
    ///
    /// | window | | y | dx | dw |
    /// |---|---|---:|---:|---:|
    /// | 3 x 3 | Winograd | 20 | 27 | 2.7 |
    /// | | direct | 5.9 | 6.3 | 0.9 |
    /// | 5 x 5 | Winograd | 23 | 39 | 4.8 |
    /// | | direct | 4.2 | 6.1 | 1.7 |
    /// | 11 x 11, stride 4 | Winograd | 13 | | 2.3 |
    /// | | direct | 2.5 | | 0.7 |
    ///
    /// These are root mean squares; the largest errors are ten to twenty times as large. A NaN or
    /// infinity in the input makes all outputs of its tiles NaN, up to six windows away.
    Winograd,
}

/// The sizes of a convolution, and its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images in a batch.
    pub images: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of an input image.
    pub channels: usize,
    /// Filters: the channels of an output image.
    pub filters: usize,
    /// Rows and columns of a filter.
    pub window: (usize, usize),
    /// Pixels from one window to the next, in both directions.
    pub stride: usize,
    /// Zeros around the image.
    pub pad: Pad,
    /// Number of groups into which channels and filters are divided.
    pub groups: usize,
    /// Whether the output is rectified.
    pub relu: bool,
    /// The algorithm on a CPU in f32.
    pub algorithm: Algorithm,
}

impl Geometry {
    /// Rows of an output image.
    pub fn out_height(&self) -> usize {
        (self.height + self.pad.top + self.pad.bottom - self.window.0) / self.stride + 1
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        (self.width + self.pad.left + self.pad.right - self.window.1) / self.stride + 1
    }

    /// `[images, height, width, channels]`
    pub fn in_shape(&self) -> Shape {
        Shape::from([self.images, self.height, self.width, self.channels])
    }

    /// `[images, out_height, out_width, filters]`
    pub fn out_shape(&self) -> Shape {
        Shape::from([self.images, self.out_height(), self.out_width(), self.filters])
    }

    /// `[filters, window height, window width, channels / groups]`
    pub fn filter_shape(&self) -> Shape {
        Shape::from([self.filters, self.window.0, self.window.1, self.channels / self.groups])
    }

    /// Multiply-adds of a forward pass for one image, including those with zeros of the padding.
    pub fn macs_per_image(&self) -> usize {
        self.out_height() * self.out_width() * self.filter_shape().len()
    }

    /// The same convolution with [`Algorithm::Fastest`] replaced by the algorithm that it selects
    /// for the forward pass and the filters' gradient, so that another geometry can use the same.
    pub fn resolved(&self) -> Geometry {
        self.check();
        Geometry { algorithm: cpu::resolved(self), ..*self }
    }

    /// Floats of scratch memory that suffice for each of the three passes on such a device.
    pub fn scratch(&self, target: Target) -> usize {
        self.check();
        match target {
            Target::Cpu { threads } => cpu::scratch(Isa::best(), self, threads),
            Target::CpuBf16 { threads } => bf16::scratch(self, threads),
            Target::Cuda => cuda::scratch(self),
        }
    }

    /// Floats of the filters that [`pack_weights`] writes on such a device; 0 if the device reads
    /// them unpacked.
    pub fn packed_len(&self, target: Target) -> usize {
        self.check();
        match target {
            Target::Cpu { .. } => cpu::packed_len(Isa::best(), self),
            Target::CpuBf16 { .. } => bf16::packed_len(self),
            Target::Cuda => 0,
        }
    }

    /// # Panics
    /// If the sizes do not define a convolution.
    pub(crate) fn check(&self) {
        let padded = (
            self.height + self.pad.top + self.pad.bottom,
            self.width + self.pad.left + self.pad.right,
        );
        assert!(self.stride > 0, "a convolution with stride 0");
        assert!(self.groups > 0, "a convolution with no group");
        assert!(self.window.0 > 0 && self.window.1 > 0, "a convolution with an empty window");
        assert!(
            self.window.0 <= padded.0 && self.window.1 <= padded.1,
            "a window of {:?} does not fit a padded image of {padded:?}",
            self.window
        );
        assert!(
            self.channels.is_multiple_of(self.groups) && self.filters.is_multiple_of(self.groups),
            "{} groups do not divide {} channels and {} filters",
            self.groups,
            self.channels,
            self.filters
        );
        assert!(!self.in_shape().is_empty() && self.filters > 0, "a convolution of nothing");
    }
}

/// `y = conv(x, w) + b`, rectified if `relu` is set.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not have the geometry's length, or the scratch memory is too small.
pub fn forward(device: &mut Device, g: &Geometry, operands: Forward) -> Result<()> {
    let Forward { x, w, b, y, scratch } = operands;
    expect(g, &[("x", x, g.in_shape()), ("y", y, g.out_shape()), ("w", w, g.filter_shape())]);
    expect(g, &[("b", b, Shape::from([g.filters]))]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([x, w, b, y, scratch], pool) = cpu.floats_with_pool([x, w, b, y, scratch]);
            let operands: ForwardSlices<'_> = Forward { x, w, b, y, scratch };
            match precision {
                Precision::Bf16 => bf16::forward(MatrixUnit::best(), pool, g, operands),
                _ => cpu::forward(Isa::best(), pool, g, operands),
            }
            Ok(())
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, w, b, y, scratch]),
    }
}

/// Packs or transforms w, once for many passes of [`forward_packed`].
///
/// # Errors
/// None on the CPU.
///
/// # Panics
/// As [`forward`], or if `packed` does not have [`Geometry::packed_len`] floats.
pub fn pack_weights(
    device: &mut Device,
    g: &Geometry,
    w: Slot,
    packed: Slot,
    scratch: Slot,
) -> Result<()> {
    let shape = Shape::from([g.packed_len(device.target())]);
    expect(g, &[("w", w, g.filter_shape()), ("the packed filters", packed, shape)]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([w, packed, scratch], pool) = cpu.floats_with_pool([w, packed, scratch]);
            match precision {
                Precision::Bf16 => bf16::pack_weights(pool, g, w, packed),
                _ => cpu::pack_weights(Isa::best(), pool, g, w, packed, scratch),
            }
            Ok(())
        }
        Device::Cuda(_) => Ok(()), // it reads w unpacked
    }
}

/// [`forward`] with filters that [`pack_weights`] has packed. As packing is not repeated for each
/// pass, few images may use another algorithm than in `forward`. A GPU reads `operands.w` instead.
///
/// # Errors
/// As `forward`.
///
/// # Panics
/// As `pack_weights`.
pub fn forward_packed(
    device: &mut Device,
    g: &Geometry,
    operands: Forward,
    packed: Slot,
) -> Result<()> {
    let shapes = [g.packed_len(device.target()), g.filters].map(|len| Shape::from([len]));
    let Forward { x, b, y, scratch, .. } = operands;
    let Device::Cpu(cpu) = device else {
        return forward(device, g, operands);
    };
    expect(g, &[("x", x, g.in_shape()), ("y", y, g.out_shape())]);
    expect(g, &[("the packed filters", packed, shapes[0]), ("b", b, shapes[1])]);
    let precision = cpu.precision();
    let ([x, w, b, y, scratch], pool) = cpu.floats_with_pool([x, packed, b, y, scratch]);
    let operands: ForwardSlices<'_> = Forward { x, w, b, y, scratch };
    match precision {
        Precision::Bf16 => bf16::forward_packed(MatrixUnit::best(), pool, g, operands),
        _ => cpu::forward_packed(Isa::best(), pool, g, operands),
    }
    Ok(())
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
    expect(g, &[("dx", dx, g.in_shape()), ("dy", dy, g.out_shape()), ("w", w, g.filter_shape())]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([dy, w, dx, scratch], pool) = cpu.floats_with_pool([dy, w, dx, scratch]);
            let operands: BackwardInputSlices<'_> = BackwardInput { dy, w, dx, scratch };
            match precision {
                Precision::Bf16 => bf16::backward_input(MatrixUnit::best(), pool, g, operands),
                _ => cpu::backward_input(Isa::best(), pool, g, operands),
            }
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_input(cuda, g, [dy, w, dx, scratch]),
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
    expect(g, &[("x", x, g.in_shape()), ("dy", dy, g.out_shape()), ("dw", dw, g.filter_shape())]);
    expect(g, &[("db", db, Shape::from([g.filters]))]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([x, dy, dw, db, scratch], pool) = cpu.floats_with_pool([x, dy, dw, db, scratch]);
            let operands: BackwardWeightsSlices<'_> = BackwardWeights { x, dy, dw, db, scratch };
            match precision {
                Precision::Bf16 => bf16::backward_filter(MatrixUnit::best(), pool, g, operands),
                _ => cpu::backward_filter(Isa::best(), pool, g, operands),
            }
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_filter(cuda, g, [x, dy, dw, db, scratch]),
    }
}

/// # Panics
/// If the sizes do not define a convolution, or an operand does not have its shape's length.
pub(crate) fn expect(g: &Geometry, operands: &[(&str, Slot, Shape)]) {
    g.check();
    for &(name, slot, shape) in operands {
        assert_eq!(slot.dtype(), DType::F32, "{name} holds floats");
        assert_eq!(slot.len(), shape.len(), "{name} is {shape}");
    }
}
