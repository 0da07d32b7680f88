use super::*;
use proptest::prelude::*;

#[test]
fn half_a_pixel_is_rounded_as_in_python() {
    // `[round(pixels / 2) for pixels in range(10)]`
    let halves = (0..10).map(|pixels| CentreRounding::HalfEven.half(pixels));
    assert_eq!(halves.collect::<Vec<_>>(), [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]);
    let halves = (0..10).map(|pixels| CentreRounding::Down.half(pixels));
    assert_eq!(halves.collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn a_centre_square_moves_by_the_rounded_half() {
    let from = noise(8, 11);
    let mut squares = [CentreRounding::Down, CentreRounding::HalfEven].map(|rounding| {
        let mut into = Image::default();
        Resizer::default().square(&from, CentreSquare { side: 8, rounding }, &mut into);
        into
    });
    for (square, left) in squares.iter_mut().zip([1, 2]) {
        let mut expected = vec![0; 8 * 8 * 3];
        crate::crop(&from.pixels, 11, 0, left, (8, 8), &mut expected);
        assert_eq!(square.pixels, expected);
    }
}

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

/// The values were made by fixtures/pillow.py with Pillow 13.0.0.
#[test]
fn every_pixel_of_a_tiny_image_equals_pillow() {
    let pillow = [
        81, 73, 111, 159, 90, 95, 194, 148, 105, 185, 204, 138, 53, 109, 143, 111, 164, 107, 148,
        111, 96, 144, 140, 90, 99, 148, 195, 163, 165, 108, 150, 165, 87, 113, 153, 105,
    ];
    assert_eq!(resized(&noise(5, 7), 3, 4).pixels, pillow);
}

/// Sizes before and after, and the FNV-1a hash of the result; made by fixtures/pillow.py with
/// Pillow 13.0.0.
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
    /// Resizing a window equals cutting it out and resizing it.
    #[test]
    fn a_window_is_resized_like_an_image(
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

    /// `square` equals resizing the whole image and cutting the centre square out.
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

    /// Pixels outside a part's reach do not affect it.
    #[test]
    fn only_pixels_in_reach_affect_a_part(
        from in (1usize..50, 1usize..50),
        side in 1usize..40,
        corner: [u8; 2],
        extent: [u8; 2],
    ) {
        let image = noise(from.0, from.1);
        let (top, left) = (corner[0] as usize % side, corner[1] as usize % side);
        let height = 1 + extent[0] as usize % (side - top);
        let width = 1 + extent[1] as usize % (side - left);
        let part = Rectangle { top, left, height, width };
        let reach = Resizer::square_reach(from, side, part);
        let mut other = Image::filled(from.0, from.1, [255; 3]);
        for y in reach.top..reach.top + reach.height {
            let start = (y * from.1 + reach.left) * 3;
            let row = start..start + reach.width * 3;
            other.pixels[row.clone()].copy_from_slice(&image.pixels[row]);
        }
        let mut crops = [vec![0; height * width * 3], vec![0; height * width * 3]];
        for (image, crop) in [image, other].iter().zip(&mut crops) {
            Resizer::default().square_crop(image, side, part, crop);
        }
        prop_assert_eq!(&crops[0], &crops[1]);
    }

    /// `square_crop` equals computing the square and cutting the part out.
    #[test]
    fn a_crop_is_a_part_of_the_square(
        from in (1usize..50, 1usize..50),
        side in 1usize..40,
        corner: [u8; 2],
        extent: [u8; 2],
    ) {
        let image = noise(from.0, from.1);
        let (top, left) = (corner[0] as usize % side, corner[1] as usize % side);
        let height = 1 + extent[0] as usize % (side - top);
        let width = 1 + extent[1] as usize % (side - left);
        let (mut square, mut resizer) = (Image::default(), Resizer::default());
        resizer.square(&image, side, &mut square);
        let mut wanted = vec![0; height * width * 3];
        crate::crop(&square.pixels, side, top, left, (height, width), &mut wanted);
        let mut crop = vec![0; height * width * 3];
        let rectangle = Rectangle { top, left, height, width };
        resizer.square_crop(&image, side, rectangle, &mut crop);
        prop_assert_eq!(crop, wanted);
    }
}

/// It has more taps than the unrolled loops support, and its rounded weights sum to more than
/// one.
#[test]
fn a_very_long_white_row() {
    let white = Image::filled(1, 40_000, [255; 3]);
    assert_eq!(resized(&white, 1, 1).pixels, [255; 3]);
}

#[test]
#[should_panic(expected = "exceeds a square of 4")]
fn a_crop_beyond_the_square() {
    let rectangle = Rectangle { top: 1, left: 0, height: 4, width: 2 };
    let image = Image::filled(9, 9, [0; 3]);
    Resizer::default().square_crop(&image, 4, rectangle, &mut [0; 24]);
}

#[test]
fn a_resizer_can_be_reused() {
    let (mut resizer, mut out) = (Resizer::default(), Image::default());
    for (from, to) in [((50, 60), (20, 30)), ((10, 10), (33, 5)), ((70, 3), (2, 2))] {
        resizer.resize(&noise(from.0, from.1), to.0, to.1, &mut out);
        assert_eq!(out, resized(&noise(from.0, from.1), to.0, to.1));
    }
}

#[test]
#[should_panic(expected = "exceeds an image")]
fn a_window_beyond_the_image() {
    let window = Rectangle { top: 1, left: 0, height: 3, width: 2 };
    Resizer::default().window(&[0; 27], (3, 3), window, (1, 1), &mut [0; 3]);
}

#[test]
#[should_panic(expected = "from 0 x 5")]
fn an_image_without_rows() {
    resized(&Image::filled(0, 5, [0; 3]), 2, 2);
}
