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
mod cudnn;
pub mod reference;

#[cfg(test)]
pub(crate) mod tests;

use crate::gemm::Isa;
use crate::gemm::amx::MatrixUnit;
use crate::operands::{
    BackwardInput, BackwardInputSlices, BackwardWeights, BackwardWeightsSlices, Forward,
    ForwardSlices,
};
use crate::value::{self, Value, any_in_bf16, by_types};
pub use crate::windows::{Algorithm, Pad, WindowGeometry};
use cpu::{PackedOperands, bf16};
pub(crate) use cuda::GPU_KERNELS;
use tensor::{Bf16, Cpu, DType, Device, Precision, Result, Shape, Slot, Target};

/// The sizes of a convolution, and its algorithm.
pub type Geometry = WindowGeometry;

/// Whether a GPU folds images of so many channels by the stride, in tf32 and bf16 (`conv.cu`): the
/// channels are too few to be read 16 bytes at a time, and the stride makes them enough.
pub fn folds_on_gpu(channels: usize, groups: usize, stride: usize) -> bool {
    groups == 1 && stride.is_multiple_of(4) && !channels.is_multiple_of(4)
}

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
    /// them unpacked or [stored](store_weights).
    pub fn packed_len(&self, target: Target) -> usize {
        self.check();
        match target {
            Target::Cpu { .. } => cpu::packed_len(Isa::best(), self),
            Target::CpuBf16 { .. } | Target::Cuda => 0,
        }
    }

    /// bf16 elements of the filters that [`store_weights`] writes on such a device; 0 if the device
    /// reads them in f32.
    pub fn stored_len(&self, target: Target) -> usize {
        self.check();
        match target {
            Target::CpuBf16 { .. } => bf16::stored_len(self),
            Target::Cpu { .. } | Target::Cuda => 0,
        }
    }
}

/// Rounds the filters, in host memory, to bf16 and stores them in the order in which [`forward`]
/// multiplies them. Denormal values become zero.
///
/// # Errors
/// [`Error::NoKernel`](tensor::Error::NoKernel) on a GPU.
///
/// # Panics
/// If `stored` is not a bf16 slot of [`Geometry::stored_len`] elements, or `w` has another length
/// than the filters.
pub fn store_weights(device: &mut Device, g: &Geometry, w: &[f32], stored: Slot) -> Result<()> {
    assert_eq!(w.len(), g.filter_shape().len(), "filters of {g:?}");
    match device {
        Device::Cpu(cpu) => {
            assert_eq!(stored.len(), bf16::stored_len(g), "stored filters of {g:?}");
            let ([stored], pool) = cpu.lend_with_pool([stored]);
            bf16::store_weights(pool, g, w, stored.into());
            Ok(())
        }
        Device::Cuda(cuda) => value::lacks_bf16(cuda, "convolutions with bf16 filters"),
    }
}

/// `y = conv(x, w) + b`, rectified if `relu` is set. w is f32, or bf16 by [`store_weights`]; then x
/// and y may be bf16, too.
///
/// # Errors
/// If the device fails; [`Error::NoKernel`](tensor::Error::NoKernel) for bf16 filters on a GPU.
///
/// # Panics
/// If a slot does not have the geometry's length, or the scratch memory is too small.
pub fn forward(device: &mut Device, g: &Geometry, operands: Forward) -> Result<()> {
    let Forward { x, w, b, y, scratch } = operands;
    g.expect_len(&[("x", x, g.in_shape()), ("y", y, g.out_shape())]);
    g.expect(&[("b", b, Shape::from([g.filters]))]);
    if w.dtype() == DType::Bf16 {
        return forward_stored(device, g, operands);
    }
    g.expect(&[("w", w, g.filter_shape())]);
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
        Device::Cuda(cuda) if any_in_bf16([x, y]) => {
            value::lacks_bf16(cuda, "convolutions of bf16 values")
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, w, b, y, scratch]),
    }
}

/// [`forward`] with filters in bf16.
fn forward_stored(device: &mut Device, g: &Geometry, operands: Forward) -> Result<()> {
    match device {
        Device::Cpu(cpu) => {
            assert_eq!(operands.w.len(), bf16::stored_len(g), "stored filters of {g:?}");
            by_types!(operands.x, operands.y, forward_on_cpu(cpu, g, operands));
            Ok(())
        }
        Device::Cuda(cuda) => value::lacks_bf16(cuda, "convolutions with bf16 filters"),
    }
}

fn forward_on_cpu<X: Value, Y: Value>(cpu: &mut Cpu, g: &Geometry, operands: Forward) {
    let Forward { x, w, b, y, scratch } = operands;
    let ([x, w, b, y, scratch], pool) = cpu.lend_with_pool([x, w, b, y, scratch]);
    let (source, filters, bias): (&mut [X], &mut [Bf16], &mut [f32]) =
        (x.into(), w.into(), b.into());
    let (target, work): (&mut [Y], &mut [f32]) = (y.into(), scratch.into());
    let operands = PackedOperands { source, filters, bias: Some(bias), target, work };
    bf16::forward_stored(MatrixUnit::best(), pool, g, operands);
}

/// Packs or transforms w, once for many passes of [`forward_packed`], in f32.
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
            let ([w, packed, scratch], pool) = cpu.floats_with_pool([w, packed, scratch]);
            cpu::pack_weights(Isa::best(), pool, g, w, packed, scratch);
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
    let ([x, w, b, y, scratch], pool) = cpu.floats_with_pool([x, packed, b, y, scratch]);
    cpu::forward_packed(Isa::best(), pool, g, Forward { x: &*x, w: &*w, b: &*b, y, scratch });
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
