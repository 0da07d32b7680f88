//! Values of activations: f32, or bf16 where they are only multiplied in bf16, directly or after a
//! maximum.
//!
//! Such a value is rounded by the op that writes it instead of the one that multiplies it, and a
//! maximum of rounded values is the rounded maximum: no bit of a result depends on it. Rounding is
//! to nearest, ties to even, as AMX's operands are rounded; denormal values become zero.

use crate::denormal;
use crate::gemm::amx::pack::{self, Runs};
use tensor::{Bf16, Cuda, DType, Device, Element, Result, Slot};

/// An element of an activation.
pub(crate) trait Value: Element + Send + Sync {
    /// As an f32, exactly.
    fn wide(self) -> f32;

    /// Rounded to this type.
    fn rounded(x: f32) -> Self;

    /// Rounds runs of x into runs of y.
    fn round_runs(x: &[Self], y: &mut [Bf16], runs: Runs);
}

impl Value for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn rounded(x: f32) -> f32 {
        x
    }

    fn round_runs(x: &[f32], y: &mut [Bf16], runs: Runs) {
        pack::runs(x, y, runs)
    }
}

impl Value for Bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    #[inline(always)]
    fn rounded(x: f32) -> Bf16 {
        pack::portable::round(x)
    }

    fn round_runs(x: &[Bf16], y: &mut [Bf16], Runs { count, len, from, to }: Runs) {
        for idx in 0..count {
            y[idx * to..][..len].copy_from_slice(&x[idx * from..][..len]);
        }
    }
}

/// Whether a slot is bf16.
pub(crate) fn any_in_bf16<const N: usize>(slots: [Slot; N]) -> bool {
    slots.iter().any(|slot| slot.dtype() == DType::Bf16)
}

/// The error of an op on a GPU, whose kernels read and write f32 only. It is apart from
/// [`Cuda::lacks`], which `cargo xtask tidy` takes for the mark of an op without kernels.
///
/// # Errors
/// Always [`Error::NoKernel`](tensor::Error::NoKernel).
pub(crate) fn lacks_bf16(cuda: &Cuda, what: &'static str) -> Result<()> {
    cuda.lacks(what)
}

/// Copies f32 values from the host into a slot of f32 or bf16; denormal values become zero.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the slot has another length than `values`.
pub fn upload(device: &mut Device, slot: Slot, values: &[f32]) -> Result<()> {
    match slot.dtype() {
        DType::Bf16 => {
            assert_eq!(values.len(), slot.len(), "values for a slot of {}", slot.shape());
            let values: Vec<Bf16> = values.iter().map(|&x| Bf16::rounded(x)).collect();
            device.upload(slot, &values)
        }
        _ => denormal::upload(device, slot, values),
    }
}

/// The values of a slot of f32 or bf16, as f32.
///
/// # Errors
/// If the device fails.
pub fn download(device: &Device, slot: Slot) -> Result<Vec<f32>> {
    match slot.dtype() {
        DType::Bf16 => {
            let values: Vec<Bf16> = device.download(slot)?;
            Ok(values.into_iter().map(Value::wide).collect())
        }
        _ => device.download(slot),
    }
}

/// Calls `$work::<X, Y>` for the types of two slots.
macro_rules! by_types {
    ($x:expr, $y:expr, $work:ident $arguments:tt) => {
        match [$x, $y].map(|slot| slot.dtype() == tensor::DType::Bf16) {
            [false, false] => $work::<f32, f32> $arguments,
            [false, true] => $work::<f32, tensor::Bf16> $arguments,
            [true, false] => $work::<tensor::Bf16, f32> $arguments,
            [true, true] => $work::<tensor::Bf16, tensor::Bf16> $arguments,
        }
    };
}
pub(crate) use by_types;
