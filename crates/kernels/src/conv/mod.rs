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
pub use crate::windows::{Pad, WindowGeometry};
use cpu::bf16;
use tensor::{Device, Precision, Result, Shape, Slot, Target};

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
pub type Geometry = WindowGeometry;

impl Geometry {
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
    g.expect(&[("x", x, g.in_shape()), ("y", y, g.out_shape()), ("w", w, g.filter_shape())]);
    g.expect(&[("b", b, Shape::from([g.filters]))]);
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
    g.expect(&[("w", w, g.filter_shape()), ("the packed filters", packed, shape)]);
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
    g.expect(&[("x", x, g.in_shape()), ("y", y, g.out_shape())]);
    g.expect(&[("the packed filters", packed, shapes[0]), ("b", b, shapes[1])]);
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
    g.expect(&[("dx", dx, g.in_shape()), ("dy", dy, g.out_shape()), ("w", w, g.filter_shape())]);
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
    g.expect(&[("x", x, g.in_shape()), ("dy", dy, g.out_shape()), ("dw", dw, g.filter_shape())]);
    g.expect(&[("db", db, Shape::from([g.filters]))]);
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
