//! Convolution with its bias, and its ReLU if one follows.
//!
//! ```text
//! y[i, j, f] = b[f] + sum over kh, kw, c of
//!              w[f, kh, kw, c] x[stride i + kh - top, stride j + kw - left, c]
//! ```
//!
//! for every image, where x is zero outside the image. With groups, filter f sees only the channels
//! of its own group (the paper's section 3.5: its two GPUs). Activations are NHWC, filters OHWI.

mod cpu;
mod cuda;
pub mod reference;

#[cfg(test)]
pub(crate) mod tests;

use crate::gemm::Isa;
use crate::gemm::amx::Engine;
use cpu::bf16;
use tensor::{DType, Device, Precision, Result, Shape, Slot, Target};

/// Zeros around an image, on each side separately.
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
    /// `n` on every side.
    pub fn same(n: usize) -> Pad {
        Pad { top: n, bottom: n, left: n, right: n }
    }

    /// No zeros.
    pub fn none() -> Pad {
        Pad::same(0)
    }
}

/// How a convolution is computed; where it can be had in more than one way: on a CPU in f32. In
/// bf16, and on a GPU, it is direct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Each pass in the form that takes less time, judged by the geometry alone: few images or
    /// channels are convolved directly. So the bits of an image's output can depend on how many
    /// images there are.
    #[default]
    Fastest,
    /// Each product of the formula is computed.
    Direct,
    /// Fewer multiplications, wherever stride and window allow: the window is square and its side,
    /// divided by the stride and rounded up, 3 or 5; with a stride of more than 1 there are no
    /// groups, and the input's gradient is computed directly. Elsewhere direct.
    ///
    /// Errors are larger. At the shapes of AlexNet's conv3, conv2 and conv1 (3 x 3, 5 x 5 and 11 x
    /// 11), relative to the root mean square of what is computed, in units of 1e-7:
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
    /// These are root mean squares; the largest of all errors are ten to twenty times that. One NaN
    /// or infinity among the inputs makes all outputs of its tiles NaN, up to six windows away.
    Winograd,
}

/// What is convolved with what.
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
    /// Pixels from one window to the next, both ways.
    pub stride: usize,
    /// Zeros around the image.
    pub pad: Pad,
    /// Into how many groups channels and filters are divided.
    pub groups: usize,
    /// Whether the output is rectified.
    pub relu: bool,
    /// How it is computed.
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

    /// Multiplications (each with its addition) of a forward pass, for one image; those with zeros
    /// of the padding count.
    pub fn macs_per_image(&self) -> usize {
        self.out_height() * self.out_width() * self.filter_shape().len()
    }

    /// The same convolution with [`Algorithm::Fastest`] replaced by what that comes to in the
    /// forward pass and for the filters' gradient: so that another geometry can take the same form.
    pub fn settled(&self) -> Geometry {
        self.check();
        Geometry { algorithm: cpu::settled(self), ..*self }
    }

    /// Floats of scratch memory that any of the three passes needs on such a device.
    pub fn scratch(&self, target: Target) -> usize {
        self.check();
        match target {
            Target::Cpu { threads } => cpu::scratch(Isa::best(), self, threads),
            Target::CpuBf16 { threads } => bf16::scratch(self, threads),
            Target::Cuda => cuda::scratch(self),
        }
    }

    /// Floats of the filters as [`keep`] leaves them on such a device; none where they are read as
    /// they are.
    pub fn kept(&self, target: Target) -> usize {
        self.check();
        match target {
            Target::Cpu { .. } => cpu::kept(Isa::best(), self),
            Target::CpuBf16 { .. } => bf16::kept(self),
            Target::Cuda => 0,
        }
    }

    /// # Panics
    /// If there is no such convolution.
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

/// `y = conv(x, w) + b`, rectified if the geometry says so.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot's length is not what the geometry says, or the scratch memory is too small.
pub fn forward(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    w: Slot,
    b: Slot,
    y: Slot,
    scratch: Slot,
) -> Result<()> {
    expect(g, &[("x", x, g.in_shape()), ("y", y, g.out_shape()), ("w", w, g.filter_shape())]);
    expect(g, &[("b", b, Shape::from([g.filters]))]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([x, w, b, y, scratch], pool) = cpu.floats_with_pool([x, w, b, y, scratch]);
            match precision {
                Precision::Bf16 => bf16::forward(Engine::best(), pool, g, (x, w, b), y, scratch),
                _ => cpu::forward(Isa::best(), pool, g, x, w, b, y, scratch),
            }
            Ok(())
        }
        Device::Cuda(cuda) => cuda::forward(cuda, g, [x, w, b, y, scratch]),
    }
}

/// Brings w into the form in which [`forward_kept`] reads it: packed or transformed, once for many
/// passes.
///
/// # Errors
/// None on the CPU.
///
/// # Panics
/// As [`forward`], or if `kept` is not of [`Geometry::kept`] floats.
pub fn keep(device: &mut Device, g: &Geometry, w: Slot, kept: Slot, scratch: Slot) -> Result<()> {
    let shape = Shape::from([g.kept(device.target())]);
    expect(g, &[("w", w, g.filter_shape()), ("the kept filters", kept, shape)]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([w, kept, scratch], pool) = cpu.floats_with_pool([w, kept, scratch]);
            match precision {
                Precision::Bf16 => bf16::keep(pool, g, w, kept),
                _ => cpu::keep(Isa::best(), pool, g, w, kept, scratch),
            }
            Ok(())
        }
        Device::Cuda(_) => Ok(()), // it reads w as it is
    }
}

/// [`forward`] with filters `(w, kept)`, which [`keep`] has brought into form: as one pass need not
/// repay that, few images may be convolved in another form than by `forward`.
///
/// # Errors
/// As `forward`.
///
/// # Panics
/// As `keep`.
#[allow(clippy::too_many_arguments)]
pub fn forward_kept(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    (w, kept): (Slot, Slot),
    b: Slot,
    y: Slot,
    scratch: Slot,
) -> Result<()> {
    let shapes = [g.kept(device.target()), g.filters].map(|len| Shape::from([len]));
    let Device::Cpu(cpu) = device else {
        return forward(device, g, x, w, b, y, scratch);
    };
    expect(g, &[("x", x, g.in_shape()), ("y", y, g.out_shape())]);
    expect(g, &[("the kept filters", kept, shapes[0]), ("b", b, shapes[1])]);
    let precision = cpu.precision();
    let ([x, kept, b, y, scratch], pool) = cpu.floats_with_pool([x, kept, b, y, scratch]);
    match precision {
        Precision::Bf16 => bf16::forward_kept(Engine::best(), pool, g, (x, kept, b), y, scratch),
        _ => cpu::forward_kept(Isa::best(), pool, g, x, kept, b, y, scratch),
    }
    Ok(())
}

/// `dx`, the gradient of the input, written and not accumulated. `dy` is the gradient before the
/// ReLU.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(
    device: &mut Device,
    g: &Geometry,
    dy: Slot,
    w: Slot,
    dx: Slot,
    scratch: Slot,
) -> Result<()> {
    expect(g, &[("dx", dx, g.in_shape()), ("dy", dy, g.out_shape()), ("w", w, g.filter_shape())]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([dy, w, dx, scratch], pool) = cpu.floats_with_pool([dy, w, dx, scratch]);
            match precision {
                Precision::Bf16 => {
                    bf16::backward_input(Engine::best(), pool, g, (dy, w), dx, scratch);
                }
                _ => cpu::backward_input(Isa::best(), pool, g, dy, w, dx, scratch),
            }
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_input(cuda, g, [dy, w, dx, scratch]),
    }
}

/// `dw` and `db`, the gradients of filters and biases, written and not accumulated. `dy` is the
/// gradient before the ReLU.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`forward`].
pub fn backward_filter(
    device: &mut Device,
    g: &Geometry,
    x: Slot,
    dy: Slot,
    dw: Slot,
    db: Slot,
    scratch: Slot,
) -> Result<()> {
    expect(g, &[("x", x, g.in_shape()), ("dy", dy, g.out_shape()), ("dw", dw, g.filter_shape())]);
    expect(g, &[("db", db, Shape::from([g.filters]))]);
    match device {
        Device::Cpu(cpu) => {
            let precision = cpu.precision();
            let ([x, dy, dw, db, scratch], pool) = cpu.floats_with_pool([x, dy, dw, db, scratch]);
            match precision {
                Precision::Bf16 => {
                    let (read, written) = ((&*x, &*dy), (dw, db));
                    bf16::backward_filter(Engine::best(), pool, g, read, written, scratch);
                }
                _ => cpu::backward_filter(Isa::best(), pool, g, x, dy, dw, db, scratch),
            }
            Ok(())
        }
        Device::Cuda(cuda) => cuda::backward_filter(cuda, g, [x, dy, dw, db, scratch]),
    }
}

/// # Panics
/// If there is no such convolution, or an operand has not its shape's length.
pub(crate) fn expect(g: &Geometry, operands: &[(&str, Slot, Shape)]) {
    g.check();
    for &(name, slot, shape) in operands {
        assert_eq!(slot.dtype(), DType::F32, "{name} holds floats");
        assert_eq!(slot.len(), shape.len(), "{name} is {}", shape);
    }
}
