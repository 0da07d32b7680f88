//! Antialiased resizing.

use crate::{Image, Rectangle};
use serde::{Deserialize, Serialize};
use taps::Taps;

mod taps;

/// Resizes images with a triangle filter. For enlarging, this is bilinear interpolation; for
/// shrinking, the filter is widened by the shrinking factor, which avoids aliasing.
///
/// A horizontal pass resizes each row, then a vertical pass resizes each column. Both use integer
/// arithmetic, so that results are bit-identical on every processor, and round to 8 bits. The
/// results are bit-identical to those of Pillow's `Image.resize(size, BILINEAR)`. (Pillow 13 runs
/// the vertical pass first if an image shrinks more in height than in width; some pixels then
/// differ by one level from those of earlier versions and of this code.) The buffers are reused for
/// the next image.
#[derive(Clone, Debug, Default)]
pub struct Resizer {
    /// Horizontal taps.
    across: Taps,
    /// Vertical taps.
    down: Taps,
    /// The result of the horizontal pass: the source rows that are needed, in their new width.
    narrowed: Vec<u8>,
    /// A copy of the image's last row, with one more byte.
    last: Vec<u8>,
}

/// The centre square of an image whose shorter side is resized to `side`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CentreSquare {
    /// Height and width in pixels.
    pub side: usize,
    /// Where it begins if the number of pixels outside is odd.
    pub rounding: CentreRounding,
}

/// How half a pixel is rounded in the position of a centre square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CentreRounding {
    /// Down, to the left and up.
    #[default]
    Down,
    /// To the even number of pixels, as torchvision's `CenterCrop` does.
    HalfEven,
}

impl From<usize> for CentreSquare {
    /// Rounded down.
    fn from(side: usize) -> CentreSquare {
        CentreSquare { side, rounding: CentreRounding::Down }
    }
}

impl CentreRounding {
    /// Whether this is the default; for serialisation.
    pub fn is_down(&self) -> bool {
        *self == CentreRounding::Down
    }

    /// Half of `pixels`.
    fn half(self, pixels: usize) -> usize {
        match self {
            CentreRounding::HalfEven if pixels % 4 == 3 => pixels.div_ceil(2),
            CentreRounding::Down | CentreRounding::HalfEven => pixels / 2,
        }
    }
}

impl Resizer {
    /// Writes `from`, resized to `height` x `width`, to `into`.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn resize(&mut self, from: &Image, height: usize, width: usize, into: &mut Image) {
        into.reshape(height, width);
        let size = (height, width);
        self.crop(from, size, Rectangle::whole(size), &mut into.pixels);
    }

    /// Writes a window of an image, resized to `size` (height, width), to `into`, which has
    /// height x width x 3 bytes. `image` is the image's own height and width.
    ///
    /// The result does not depend on pixels outside the window: it equals cutting the window out
    /// and resizing it.
    ///
    /// # Panics
    /// If a size is zero, the window exceeds the image, or `into` has another size.
    pub fn window(
        &mut self,
        pixels: &[u8],
        image: (usize, usize),
        window: Rectangle,
        size: (usize, usize),
        into: &mut [u8],
    ) {
        let Rectangle { top, left, height, width } = window;
        let inside = top + height <= image.0 && left + width <= image.1;
        assert!(inside, "{window:?} exceeds an image of {image:?} pixels");
        assert_eq!(pixels.len(), image.0 * image.1 * 3, "an image of {image:?} pixels");
        let wanted = Rectangle::whole(size);
        let rows = &pixels[top * image.1 * 3..];
        self.resample(rows, image.1, window, size, wanted, into);
    }

    /// Resizes `from` so that its shorter side is `side`, and writes the centre square to `into`:
    /// the preprocessing of the paper's section 2.
    ///
    /// The longer side becomes `side * longer / shorter`, rounded down; pixels outside the square
    /// are not computed.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn square(&mut self, from: &Image, square: impl Into<CentreSquare>, into: &mut Image) {
        let square = square.into();
        let size = (square.side, square.side);
        into.reshape(size.0, size.1);
        self.square_crop(from, square, Rectangle::whole(size), &mut into.pixels);
    }

    /// Computes only a part of the centre square of [`square`](Self::square), and writes it to
    /// `into`.
    ///
    /// # Panics
    /// If a size is zero, the part exceeds the square, or `into` does not have the part's size.
    pub fn square_crop(
        &mut self,
        from: &Image,
        square: impl Into<CentreSquare>,
        part: Rectangle,
        into: &mut [u8],
    ) {
        let (whole, part) = in_whole((from.height, from.width), square.into(), part);
        self.crop(from, whole, part, into);
    }

    /// The source pixels on which a part of the centre square depends, in an image of `size`
    /// (height, width); [`square_crop`](Self::square_crop) reads no others.
    ///
    /// # Panics
    /// If a size is zero, or the part exceeds the square.
    pub fn square_reach(
        size: (usize, usize),
        square: impl Into<CentreSquare>,
        part: Rectangle,
    ) -> Rectangle {
        let (whole, part) = in_whole(size, square.into(), part);
        assert!(part.height > 0 && part.width > 0, "{part:?} is empty");
        if whole == size {
            return part;
        }
        let rows = taps::reach(size.0, whole.0, part.top, part.height);
        let columns = taps::reach(size.1, whole.1, part.left, part.width);
        let (top, left) = (rows.start, columns.start);
        Rectangle { top, left, height: rows.len(), width: columns.len() }
    }

    /// Computes only a part of `from` resized to `size` (height, width), and writes it to `into`.
    fn crop(&mut self, from: &Image, size: (usize, usize), part: Rectangle, into: &mut [u8]) {
        let window = Rectangle::whole((from.height, from.width));
        self.resample(&from.pixels, from.width, window, size, part, into);
    }

    /// Computes the rectangle `wanted` of a window resized to `size` (height, width), and writes it
    /// to `into`. `rows` are the image's rows of `stride` pixels, from the window's first row on.
    fn resample(
        &mut self,
        rows: &[u8],
        stride: usize,
        window: Rectangle,
        size: (usize, usize),
        wanted: Rectangle,
        into: &mut [u8],
    ) {
        let Rectangle { height, width, .. } = window;
        let sizes = [height, width, size.0, size.1, wanted.height, wanted.width];
        assert!(!sizes.contains(&0), "from {height} x {width} to {size:?} pixels");
        assert_eq!(into.len(), wanted.height * wanted.width * 3, "the size of {wanted:?}");
        if (height, width) == size {
            let (left, size) = (window.left + wanted.left, (wanted.height, wanted.width));
            return crate::crop(rows, stride, wanted.top, left, size, into);
        }
        let work = ResizePass { resizer: self, rows, stride, window, size, wanted, into };
        pulp::Arch::new().dispatch(work);
    }
}

/// The size (height, width) of the whole image after its shorter side is resized to `side`, and a
/// part of its centre square as a rectangle of that image.
fn in_whole(
    size: (usize, usize),
    CentreSquare { side, rounding }: CentreSquare,
    part: Rectangle,
) -> ((usize, usize), Rectangle) {
    let inside = part.top + part.height <= side && part.left + part.width <= side;
    assert!(inside, "{part:?} exceeds a square of {side}");
    let whole = shorter_side_to(side, size);
    let [top, left] = [whole.0, whole.1].map(|extent| rounding.half(extent - side));
    let (top, left) = (part.top + top, part.left + left);
    (whole, Rectangle { top, left, ..part })
}

/// [`Resizer::resample`], compiled for the widest vectors of the processor. Everything it calls
/// must be inlined, or it would be compiled for the baseline processor.
struct ResizePass<'a> {
    resizer: &'a mut Resizer,
    rows: &'a [u8],
    stride: usize,
    window: Rectangle,
    size: (usize, usize),
    wanted: Rectangle,
    into: &'a mut [u8],
}

impl pulp::WithSimd for ResizePass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let ResizePass { rows, stride, window, size, wanted, into, .. } = self;
        let Resizer { across, down, narrowed, last } = self.resizer;
        across.fill(window.width, size.1, wanted.left, wanted.width);
        down.fill(window.height, size.0, wanted.top, wanted.height);
        let (first, end) = down.reach();
        let (length, columns) = (window.width * 3, wanted.width * 3);
        // `narrow` reads and writes four bytes for each pixel of three. The fourth belongs to the
        // next pixel or row, which is written later; so each buffer needs one more byte.
        narrowed.resize((end - first) * columns + 1, 0);
        for y in first..end {
            let to = &mut narrowed[(y - first) * columns..][..columns + 1];
            let start = (y * stride + window.left) * 3;
            let row = match rows.get(start..start + length + 1) {
                Some(row) => row,
                None => {
                    last.clear();
                    last.extend_from_slice(&rows[start..start + length]);
                    last.push(0);
                    &*last
                }
            };
            across.narrow(row, to);
        }
        for (y, to) in into.chunks_exact_mut(columns).enumerate() {
            down.blend(y, first, narrowed, to);
        }
    }
}

/// The height and width of an image of `size` (height, width) whose shorter side is resized to
/// `side`; the longer becomes `side * longer / shorter`, rounded down.
///
/// # Panics
/// If a side is zero.
pub fn shorter_side_to(side: usize, size: (usize, usize)) -> (usize, usize) {
    let shorter = size.0.min(size.1);
    assert!(shorter > 0, "an image of {} x {} pixels", size.0, size.1);
    (side * size.0 / shorter, side * size.1 / shorter)
}

#[cfg(test)]
mod tests;
