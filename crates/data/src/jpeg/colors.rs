//! Converts a row of channels to RGB, with the arithmetic of libjpeg and Pillow.

/// The colour encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ColorEncoding {
    #[default]
    Grey,
    Rgb,
    /// Luma and two chroma channels (YCbCr).
    Ycc,
    /// Four inverted inks.
    Cmyk,
    /// Four inverted inks, three of them as luma and chroma.
    Ycck,
}

/// Converts a row of pixels.
#[inline(always)]
pub(super) fn paint(colors: ColorEncoding, channels: [&[u8]; 4], to: &mut [u8]) {
    let to = to.as_chunks_mut::<3>().0;
    let [first, second, third, black] = channels;
    match colors {
        ColorEncoding::Grey => {
            for (to, &luma) in to.iter_mut().zip(first) {
                *to = [luma; 3];
            }
        }
        ColorEncoding::Ycc => {
            for (((to, &luma), &blue), &red) in to.iter_mut().zip(first).zip(second).zip(third) {
                *to = rgb(luma, blue, red);
            }
        }
        ColorEncoding::Rgb => {
            for (((to, &r), &g), &b) in to.iter_mut().zip(first).zip(second).zip(third) {
                *to = [r, g, b];
            }
        }
        ColorEncoding::Cmyk => {
            let inks = first.iter().zip(second).zip(third).zip(black);
            for (to, (((&c, &m), &y), &k)) in to.iter_mut().zip(inks) {
                *to = [c, m, y].map(|ink| under_black(255 - ink, k));
            }
        }
        ColorEncoding::Ycck => {
            let inks = first.iter().zip(second).zip(third).zip(black);
            for (to, (((&luma, &blue), &red), &k)) in to.iter_mut().zip(inks) {
                // libjpeg computes cyan as 255 - red, and so on; the inversion cancels this.
                *to = rgb(luma, blue, red).map(|ink| under_black(ink, k));
            }
        }
    }
}

/// JFIF's colours: R = Y + 1.402 Cr, G = Y - 0.34414 Cb - 0.71414 Cr, B = Y + 1.772 Cb, in 16-bit
/// fixed point.
#[inline(always)]
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let r = luma + ((91_881 * red + HALF) >> 16);
    let g = luma + ((-22_554 * blue - 46_802 * red + HALF) >> 16);
    let b = luma + ((116_130 * blue + HALF) >> 16);
    [r, g, b].map(|level| level.clamp(0, 255) as u8)
}

/// The light that remains under an ink and black: light - ink * light / 255, rounded.
#[inline(always)]
fn under_black(ink: u8, light: u8) -> u8 {
    let product = u32::from(ink) * u32::from(light) + 128;
    light.wrapping_sub((((product >> 8) + product) >> 8) as u8)
}
