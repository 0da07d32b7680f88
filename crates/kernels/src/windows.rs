//! Windows over images with padding: the geometry of [`conv`](crate::conv) and
//! [`local`](crate::local).

use tensor::{DType, Shape, Slot};

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
    /// x 11), one image and a quarter of the filters, relative to the root mean square of the
    /// result, in units of 1e-7; for operands of mean zero, uniform in -1 to 1, and as in training:
    /// rectified x, and dy of which two thirds are zero. With these the sums in dw cancel less.
    ///
    /// | window | operands | | y | dx | dw |
    /// |---|---|---|---:|---:|---:|
    /// | 3 x 3 | mean zero | Winograd | 25 | 16 | 7.5 |
    /// | | | direct | 8.3 | 5.1 | 2.2 |
    /// | | as in training | Winograd | 20 | 14 | 2.7 |
    /// | | | direct | 6.0 | 3.1 | 0.9 |
    /// | 5 x 5 | mean zero | Winograd | 28 | 24 | 28 |
    /// | | | direct | 6.0 | 4.9 | 4.6 |
    /// | | as in training | Winograd | 23 | 23 | 4.8 |
    /// | | | direct | 4.2 | 3.1 | 1.7 |
    /// | 11 x 11, stride 4 | mean zero | Winograd | 15 | | 21 |
    /// | | | direct | 3.4 | | 2.6 |
    /// | | as in training | Winograd | 13 | | 2.3 |
    /// | | | direct | 2.5 | | 0.7 |
    ///
    /// These are root mean squares; the largest errors are ten to twenty times as large. With such
    /// operands they are at most 60 and 1200 where [`Algorithm::Fastest`] chooses this algorithm,
    /// and nine times those of the direct one; the largest are those of dw with a window of 5 and
    /// several images (50 with four). A NaN or infinity in the input makes all outputs of its tiles
    /// NaN, up to six windows away.
    Winograd,
}

/// The sizes of a convolution, or of a locally connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowGeometry {
    /// Images in a batch.
    pub images: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of an input image.
    pub channels: usize,
    /// Filters, of each output pixel if they are not shared: the channels of an output image.
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
    /// The algorithm of a convolution on a CPU in f32; a locally connected layer has only one.
    pub algorithm: Algorithm,
}

impl WindowGeometry {
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

    /// The struct `Geometry` of the CUDA kernels.
    pub(crate) fn extents(&self) -> [u32; 13] {
        [
            self.images,
            self.height,
            self.width,
            self.channels,
            self.filters,
            self.window.0,
            self.window.1,
            self.stride,
            self.pad.top,
            self.pad.left,
            self.out_height(),
            self.out_width(),
            self.groups,
        ]
        .map(|extent| extent as u32)
    }

    /// Multiply-adds of a forward pass for one image, including those with zeros of the padding.
    pub fn macs_per_image(&self) -> usize {
        self.out_height() * self.out_width() * self.filter_shape().len()
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

    /// # Panics
    /// If the sizes do not define a convolution, or an operand is not f32 or does not have its
    /// shape's length.
    pub(crate) fn expect(&self, operands: &[(&str, Slot, Shape)]) {
        self.expect_len(operands);
        for (name, slot, _) in operands {
            assert_eq!(slot.dtype(), DType::F32, "{name} holds floats");
        }
    }

    /// [`expect`](Self::expect), of operands of any type.
    pub(crate) fn expect_len(&self, operands: &[(&str, Slot, Shape)]) {
        self.check();
        for &(name, slot, shape) in operands {
            assert_eq!(slot.len(), shape.len(), "{name} is {shape}");
        }
    }
}
