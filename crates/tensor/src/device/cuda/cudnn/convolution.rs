//! What is convolved, and how cuDNN sees it.

use std::ffi::c_int;

/// A convolution of NHWC images with OHWI filters, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images in a batch.
    pub images: usize,
    /// Rows and columns of an input image.
    pub image: [usize; 2],
    /// Channels of an input image.
    pub channels: usize,
    /// Channels of an output image.
    pub filters: usize,
    /// Rows and columns of a filter.
    pub window: [usize; 2],
    /// Pixels from one window to the next, both ways.
    pub stride: usize,
    /// Rows of zeros above an image and as many below it; columns to its left and to its right.
    pub pad: [usize; 2],
    /// Into how many groups channels and filters are divided.
    pub groups: usize,
}

/// What is made of what, of the images x, the filters w and the outputs y, or their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// y of x and w.
    Forward,
    /// x of w and y: the input's gradient.
    Input,
    /// w of x and y: the filters' gradient.
    Filter,
}

impl Convolution {
    /// Rows and columns of an output image; none if the window does not fit.
    pub fn outputs(&self) -> Option<[usize; 2]> {
        let side = |side: usize| {
            let padded = self.image[side] + 2 * self.pad[side];
            Some(padded.checked_sub(self.window[side])? / self.stride + 1)
        };
        Some([side(0)?, side(1)?])
    }

    /// x, w and y as cuDNN has them: images or filters, their channels, rows and columns.
    pub(super) fn extents(&self) -> [[usize; 4]; 3] {
        let ([height, width], [rows, columns]) = (self.image, self.window);
        let [out_height, out_width] = self.outputs().expect("a window that fits");
        [
            [self.images, self.channels, height, width],
            [self.filters, self.channels / self.groups, rows, columns],
            [self.images, self.filters, out_height, out_width],
        ]
    }

    pub(super) fn floats(&self) -> [usize; 3] {
        self.extents().map(|extents| extents.iter().product())
    }
}

impl Pass {
    /// cuDNN's function, for messages and timings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Pass::Forward => "cudnnConvolutionForward",
            Pass::Input => "cudnnConvolutionBackwardData",
            Pass::Filter => "cudnnConvolutionBackwardFilter",
        }
    }

    /// Which of x, w and y are read, in cuDNN's order, and which is written.
    pub(super) fn order(self) -> [usize; 3] {
        match self {
            Pass::Forward => [0, 1, 2],
            Pass::Input => [1, 2, 0],
            Pass::Filter => [0, 2, 1],
        }
    }

    /// The algorithms that make each product of the formula: not those through Fourier's or
    /// Winograd's transform.
    pub(super) fn direct(self) -> &'static [c_int] {
        match self {
            // IMPLICIT_GEMM, IMPLICIT_PRECOMP_GEMM, GEMM and DIRECT.
            Pass::Forward => &[0, 1, 2, 3],
            Pass::Input => &[0, 1],
            Pass::Filter => &[0, 1, 3],
        }
    }
}
