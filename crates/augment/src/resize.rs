//! Another size, antialiased.

use crate::{Image, Rectangle};

/// Coefficients are whole multiples of 2^-22, so that 255 times their sum stays within 32 bits.
const FRACTION_BITS: u32 = 22;

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
    sums: Vec<i32>,
}

impl Resizer {
    /// Writes `from`, resized to `height` x `width`, into `into`.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn resize(&mut self, from: &Image, height: usize, width: usize, into: &mut Image) {
        let wanted = Rectangle::whole((height, width));
        into.reshape(height, width);
        let whole = (from.width, Rectangle::whole((from.height, from.width)));
        self.resample(&from.pixels, whole, (height, width), wanted, &mut into.pixels);
    }

    /// Writes a window of an image, resized to `size` (height, width), into `into`, which holds
    /// height x width x 3 bytes. `image` is the image's own height and width.
    ///
    /// The window counts as an image of its own: pixels beside it take no part, as if it had been
    /// cut out before.
    ///
    /// # Panics
    /// If a size is zero, the window leaves the image, or `into` is of another size.
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
        assert!(inside, "{window:?} leaves an image of {image:?} pixels");
        assert_eq!(pixels.len(), image.0 * image.1 * 3, "an image of {image:?} pixels");
        let wanted = Rectangle::whole(size);
        self.resample(&pixels[top * image.1 * 3..], (image.1, window), size, wanted, into);
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
        let shorter = from.height.min(from.width);
        assert!(shorter > 0, "an image of {} x {} pixels", from.height, from.width);
        let (height, width) = (side * from.height / shorter, side * from.width / shorter);
        let (top, left) = ((height - side) / 2, (width - side) / 2);
        let wanted = Rectangle { top, left, height: side, width: side };
        into.reshape(side, side);
        let whole = (from.width, Rectangle::whole((from.height, from.width)));
        self.resample(&from.pixels, whole, (height, width), wanted, &mut into.pixels);
    }

    /// The pixels `wanted` of a window resized to `size` (height, width). `rows` are the image's,
    /// `stride` pixels each, from the window's first row on.
    fn resample(
        &mut self,
        rows: &[u8],
        (stride, window): (usize, Rectangle),
        size: (usize, usize),
        wanted: Rectangle,
        into: &mut [u8],
    ) {
        let Rectangle { height, width, .. } = window;
        let Rectangle { top, left, height: n_rows, width: columns } = wanted;
        let sizes = [height, width, size.0, size.1, n_rows, columns];
        assert!(!sizes.contains(&0), "from {height} x {width} to {size:?} pixels");
        assert_eq!(into.len(), n_rows * columns * 3, "room for {n_rows} x {columns} pixels");
        if (height, width) == size {
            let left = window.left + left;
            crate::crop(rows, stride, top, left, (n_rows, columns), into);
            return;
        }
        self.across.fill(width, size.1, left, columns);
        self.down.fill(height, size.0, top, n_rows);

        let (first, end) = self.down.reach();
        self.narrowed.resize((end - first) * columns * 3, 0);
        let source = rows[first * stride * 3..].chunks_exact(stride * 3);
        for (to, row) in self.narrowed.chunks_exact_mut(columns * 3).zip(source) {
            self.across.narrow(&row[window.left * 3..(window.left + width) * 3], to);
        }
        self.sums.resize(columns * 3, 0);
        for (y, to) in into.chunks_exact_mut(columns * 3).enumerate() {
            self.down.blend(y, first, &self.narrowed, &mut self.sums, to);
        }
    }
}

/// For each wanted pixel along one axis, the source pixels it is made of and their weights.
#[derive(Clone, Debug, Default)]
struct Taps {
    spans: Vec<Span>,
    weights: Vec<i32>,
    exact: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first: usize,
    count: usize,
    weights: usize,
}

impl Taps {
    /// The taps of wanted pixels `start..start + count` of `to`, out of `from` pixels.
    fn fill(&mut self, from: usize, to: usize, start: usize, count: usize) {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0); // enlarging, the filter keeps its width of one pixel each way
        self.spans.clear();
        self.weights.clear();
        for wanted in start..start + count {
            let centre = (wanted as f64 + 0.5) * scale;
            let first = ((centre - stretch + 0.5) as usize).min(from - 1); // `as` stops at zero
            let end = ((centre + stretch + 0.5) as usize).clamp(first + 1, from);
            self.exact.clear();
            self.exact.extend((first..end).map(|pixel| {
                let distance = ((pixel as f64 - centre + 0.5) * (1.0 / stretch)).abs();
                (1.0 - distance).max(0.0)
            }));
            let sum: f64 = self.exact.iter().sum();
            let one = f64::from(1u32 << FRACTION_BITS);
            let share = 1.0 / sum;
            self.spans.push(Span { first, count: end - first, weights: self.weights.len() });
            self.weights.extend(self.exact.iter().map(|w| (w * share * one + 0.5) as i32));
        }
    }

    /// The source pixels that any wanted pixel needs, first and end.
    fn reach(&self) -> (usize, usize) {
        let end = self.spans.iter().map(|span| span.first + span.count).max();
        let first = self.spans.iter().map(|span| span.first).min();
        (first.unwrap_or(0), end.unwrap_or(0))
    }

    /// One row, from its source width to the wanted columns.
    fn narrow(&self, row: &[u8], to: &mut [u8]) {
        for (pixel, span) in to.as_chunks_mut::<3>().0.iter_mut().zip(&self.spans) {
            let source = &row[span.first * 3..(span.first + span.count) * 3];
            let weights = &self.weights[span.weights..span.weights + span.count];
            let mut sums = [1i32 << (FRACTION_BITS - 1); 3];
            for (&[r, g, b], &weight) in source.as_chunks::<3>().0.iter().zip(weights) {
                sums[0] += weight * i32::from(r);
                sums[1] += weight * i32::from(g);
                sums[2] += weight * i32::from(b);
            }
            *pixel = sums.map(to_byte);
        }
    }

    /// Row `y` of the result, from rows that start with the source's row `offset`.
    fn blend(&self, y: usize, offset: usize, rows: &[u8], sums: &mut [i32], to: &mut [u8]) {
        let span = self.spans[y];
        let weights = &self.weights[span.weights..span.weights + span.count];
        sums.fill(1 << (FRACTION_BITS - 1));
        let source = rows.chunks_exact(to.len()).skip(span.first - offset);
        for (row, &weight) in source.zip(weights) {
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(byte);
            }
        }
        for (byte, &sum) in to.iter_mut().zip(&*sums) {
            *byte = to_byte(sum);
        }
    }
}

#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
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
        /// Resizing a window is cutting it out and then resizing.
        #[test]
        fn a_window_is_an_image_of_its_own(
            from in (1usize..30, 1usize..30),
            corner: [u8; 2],
            extent: [u8; 2],
            to in (1usize..20, 1usize..20),
        ) {
            let image = noise(from.0, from.1);
            let (top, left) = (corner[0] as usize % from.0, corner[1] as usize % from.1);
            let height = 1 + extent[0] as usize % (from.0 - top);
            let width = 1 + extent[1] as usize % (from.1 - left);
            let window = Rectangle { top, left, height, width };
            let mut cut = Image::filled(height, width, [0; 3]);
            crate::crop(&image.pixels, from.1, top, left, (height, width), &mut cut.pixels);
            let mut out = vec![0; to.0 * to.1 * 3];
            Resizer::default().window(&image.pixels, from, window, to, &mut out);
            prop_assert_eq!(out, resized(&cut, to.0, to.1).pixels);
        }

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
    #[should_panic(expected = "leaves an image")]
    fn a_window_beyond_the_image() {
        let window = Rectangle { top: 1, left: 0, height: 3, width: 2 };
        Resizer::default().window(&[0; 27], (3, 3), window, (1, 1), &mut [0; 3]);
    }

    #[test]
    #[should_panic(expected = "from 0 x 5")]
    fn an_image_without_rows() {
        resized(&Image::filled(0, 5, [0; 3]), 2, 2);
    }
}
