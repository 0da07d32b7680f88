//! Another size, antialiased.

use crate::Image;
use taps::Taps;

mod taps;

/// Resizes images with a triangle filter: bilinear when enlarging, and as wide as the shrinking
/// factor when shrinking, so that nothing aliases.
///
/// It works in two passes, rows first, in whole numbers, and rounds to 8 bits after each: the same
/// arithmetic as Pillow's `Image.resize(size, BILINEAR)`, hence the same pixels bit for bit, on
/// every processor. (Pillow 13 starts with the columns where an image shrinks more in height than
/// in width; its rounding then differs from its own before, by one level in some pixels.) The
/// buffers between the passes are kept from call to call.
#[derive(Clone, Debug, Default)]
pub struct Resizer {
    across: Taps,
    down: Taps,
    /// The wanted columns of the source's rows that are needed.
    narrowed: Vec<u8>,
    /// The source's last row and a byte more.
    last: Vec<u8>,
}

/// A rectangle of pixels in an image of some size.
#[derive(Clone, Copy, Debug)]
struct Window {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl Resizer {
    /// Writes `from`, resized to `height` x `width`, into `into`.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn resize(&mut self, from: &Image, height: usize, width: usize, into: &mut Image) {
        into.reshape(height, width);
        self.crop(from, (height, width), (0, 0), (height, width), &mut into.pixels);
    }

    /// Writes the centre square of `from`, its shorter side resized to `side`, into `into`: the
    /// paper's section 2.
    ///
    /// The longer side becomes `side * longer / shorter`, rounded down, and what leaves the square
    /// is never computed.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn square(&mut self, from: &Image, side: usize, into: &mut Image) {
        into.reshape(side, side);
        self.square_crop(from, side, (0, 0), (side, side), &mut into.pixels);
    }

    /// Writes a crop of that square: `size` (height, width) pixels from row and column `place` on.
    /// Nothing else is computed.
    ///
    /// # Panics
    /// If a size is zero, the crop leaves the square, or `into` is not of its size.
    pub fn square_crop(
        &mut self,
        from: &Image,
        side: usize,
        place: (usize, usize),
        size: (usize, usize),
        into: &mut [u8],
    ) {
        let whole = shorter_side_to(side, (from.height, from.width));
        let (top, left) = ((whole.0 - side) / 2, (whole.1 - side) / 2);
        let inside = place.0 + size.0 <= side && place.1 + size.1 <= side;
        assert!(inside, "a crop of {size:?} pixels at {place:?} leaves a square of {side}");
        self.crop(from, whole, (top + place.0, left + place.1), size, into);
    }

    /// Writes a crop of `from` resized to `whole` (height, width): `size` (height, width) pixels
    /// from row and column `place` on. Nothing else is computed.
    ///
    /// # Panics
    /// If a size is zero, the crop leaves the image, or `into` is not of its size.
    pub fn crop(
        &mut self,
        from: &Image,
        whole: (usize, usize),
        place: (usize, usize),
        size: (usize, usize),
        into: &mut [u8],
    ) {
        let sizes = [from.height, from.width, whole.0, whole.1, size.0, size.1];
        assert!(!sizes.contains(&0), "from {} x {} to {whole:?} pixels", from.height, from.width);
        let ((top, left), (rows, columns)) = (place, size);
        let inside = top + rows <= whole.0 && left + columns <= whole.1;
        assert!(inside, "a crop of {size:?} pixels at {place:?} leaves an image of {whole:?}");
        if (from.height, from.width) == whole {
            return crate::crop(&from.pixels, from.width, top, left, size, into);
        }
        assert_eq!(into.len(), rows * columns * 3, "a crop of {rows} x {columns} pixels");
        let window = Window { top, left, rows, columns };
        pulp::Arch::new().dispatch(Passes { resizer: self, from, whole, window, into });
    }

    #[inline(always)]
    fn two_passes(&mut self, from: &Image, whole: (usize, usize), at: Window, into: &mut [u8]) {
        self.across.fill(from.width, whole.1, at.left, at.columns);
        self.down.fill(from.height, whole.0, at.top, at.rows);
        let (first, end) = self.down.reach();
        let (width, columns) = (from.width * 3, at.columns * 3);
        // Pixels are read and written four bytes at a time: the next pixel, or row, lends the
        // fourth. It is written after, and so keeps what it should be.
        self.narrowed.resize((end - first) * columns + 1, 0);
        for y in first..end {
            let to = &mut self.narrowed[(y - first) * columns..][..columns + 1];
            let row = match from.pixels.get(y * width..(y + 1) * width + 1) {
                Some(row) => row,
                None => {
                    self.last.clear();
                    self.last.extend_from_slice(&from.pixels[y * width..(y + 1) * width]);
                    self.last.push(0);
                    &self.last
                }
            };
            self.across.narrow(row, to);
        }
        for (y, to) in into.chunks_exact_mut(columns).enumerate() {
            self.down.blend(y, first, &self.narrowed, to);
        }
    }
}

/// The work of [`Resizer::crop`], compiled for the widest vectors that the processor has. (What it
/// calls must be inlined, all of it, or would be compiled for the oldest processor.)
struct Passes<'a> {
    resizer: &'a mut Resizer,
    from: &'a Image,
    whole: (usize, usize),
    window: Window,
    into: &'a mut [u8],
}

impl pulp::WithSimd for Passes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        self.resizer.two_passes(self.from, self.whole, self.window, self.into);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(height: usize, width: usize) -> Image {
        let mut state = 1u32;
        let mut image = Image::filled(height, width, [0; 3]);
        for byte in &mut image.pixels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        image
    }

    fn resized(from: &Image, height: usize, width: usize) -> Image {
        let mut out = Image::default();
        Resizer::default().resize(from, height, width, &mut out);
        out
    }

    /// Made by fixtures/pillow.py with Pillow 13.0.0.
    #[test]
    fn every_pixel_of_a_tiny_image_is_pillows() {
        let pillow = [
            81, 73, 111, 159, 90, 95, 194, 148, 105, 185, 204, 138, 53, 109, 143, 111, 164, 107,
            148, 111, 96, 144, 140, 90, 99, 148, 195, 163, 165, 108, 150, 165, 87, 113, 153, 105,
        ];
        assert_eq!(resized(&noise(5, 7), 3, 4).pixels, pillow);
    }

    /// Sizes before and after, and FNV-1a of the pixels; made by fixtures/pillow.py with Pillow
    /// 13.0.0.
    #[test]
    fn equal_to_pillow_bit_for_bit() {
        let recorded: [(usize, usize, usize, usize, u64); 13] = [
            (1, 1, 3, 2, 0xfb802e79dffb3b4b),
            (2, 2, 5, 5, 0xf68d4011d66f2540),
            (5, 7, 3, 4, 0xc09dd5415f5971b5),
            (7, 5, 7, 9, 0xfba77c6fe24a4b7d),
            (9, 9, 2, 9, 0x22f76f1aa52f1a7d),
            (31, 17, 16, 16, 0xbbaea71731297ab1),
            (40, 60, 17, 25, 0x3f9ef7e8f4531abe),
            (37, 53, 36, 52, 0xf893cb763684b02f),
            (64, 48, 1, 1, 0x9d660c196c9a5cdf),
            (120, 90, 33, 24, 0xc429aadf0b5c065d),
            (20, 30, 64, 96, 0x23dcdc083973882e),
            (200, 300, 23, 7, 0x1b1564206fb56a6d),
            (375, 500, 256, 341, 0x534794e1e441cc44),
        ];
        for (height, width, to_height, to_width, hash) in recorded {
            let out = resized(&noise(height, width), to_height, to_width);
            let fnv = out.pixels.iter().fold(0xcbf29ce484222325u64, |value, &byte| {
                (value ^ u64::from(byte)).wrapping_mul(0x100000001b3)
            });
            assert_eq!(fnv, hash, "{height} x {width} to {to_height} x {to_width}");
        }
    }

    proptest! {
        #[test]
        fn one_color_stays_one_color(
            from in (1usize..40, 1usize..40),
            to in (1usize..40, 1usize..40),
            color: [u8; 3],
        ) {
            let out = resized(&Image::filled(from.0, from.1, color), to.0, to.1);
            prop_assert_eq!(out, Image::filled(to.0, to.1, color));
        }

        /// What the square leaves out is not computed, and must not be missed.
        #[test]
        fn a_square_is_the_centre_of_the_whole(
            from in (1usize..50, 1usize..50),
            side in 1usize..40,
        ) {
            let image = noise(from.0, from.1);
            let shorter = from.0.min(from.1);
            let (height, width) = (side * from.0 / shorter, side * from.1 / shorter);
            let whole = resized(&image, height, width);
            let mut centre = Image::filled(side, side, [0; 3]);
            let (top, left) = ((height - side) / 2, (width - side) / 2);
            crate::crop(&whole.pixels, width, top, left, (side, side), &mut centre.pixels);
            let mut square = Image::default();
            Resizer::default().square(&image, side, &mut square);
            prop_assert_eq!(square, centre);
        }
    }

    #[test]
    fn a_resizer_can_be_used_again() {
        let (mut resizer, mut out) = (Resizer::default(), Image::default());
        for (from, to) in [((50, 60), (20, 30)), ((10, 10), (33, 5)), ((70, 3), (2, 2))] {
            resizer.resize(&noise(from.0, from.1), to.0, to.1, &mut out);
            assert_eq!(out, resized(&noise(from.0, from.1), to.0, to.1));
        }
    }

    #[test]
    #[should_panic(expected = "from 0 x 5")]
    fn an_image_without_rows() {
        resized(&Image::filled(0, 5, [0; 3]), 2, 2);
    }
}
