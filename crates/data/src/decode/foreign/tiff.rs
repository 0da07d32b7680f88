//! The first page of a TIFF.
//!
//! The crate `tiff` unpacks samples; this module converts them to colours. Palettes are looked up
//! (with the upper byte of their 16 bits, as in Pillow), inks are multiplied by black, 16 bits are
//! rounded to 8, and transparency is dropped (premultiplied colours are divided by it).

use super::{MAX_MEMORY, Reason, check_size, too_large, unsupported};
use crate::formats::Format;
use crate::inspect::tiff_photometric;
use augment::Image;
use std::borrow::Cow;
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// The meaning of a pixel's samples.
#[derive(Clone, Copy)]
enum ColorModel {
    Grey,
    Rgb,
    /// Colours multiplied by alpha, the fourth sample.
    Premultiplied,
    Cmyk,
    YCbCr,
    Palette,
}

/// Samples as stored, one byte each, not yet scaled to 0 to 255.
struct Samples {
    bytes: Vec<u8>,
    /// Bytes from a pixel to the next, from a row to the next, and from a channel to the next.
    steps: [usize; 3],
    /// The largest possible value.
    most: u8,
}

pub(super) fn decode(bytes: &[u8], into: &mut Image) -> Result<(), Reason> {
    let (bytes, is_palette) = without_palette(bytes);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_MEMORY as usize / 2;
    limits.intermediate_buffer_size = MAX_MEMORY as usize / 4;
    limits.ifd_value_size = MAX_MEMORY as usize / 8;
    let decoder = Decoder::new(Cursor::new(&*bytes)).map_err(reason)?;
    let mut decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(reason)?;
    let (height, width) = (height as usize, width as usize);
    check_size(height, width)?;
    let kind = decoder.colortype().map_err(reason)?;
    let palette = if is_palette {
        decoder.get_tag_u16_vec(Tag::ColorMap).map_err(reason)?
    } else {
        Vec::new()
    };
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(reason)?;
    let is_premultiplied = extra.is_some_and(|extra| extra.first() == Some(&1));
    let (colors, depth, channels) = match kind {
        ColorType::Gray(depth @ 1..=8) if is_palette => (ColorModel::Palette, depth, 1),
        ColorType::Gray(depth) => (ColorModel::Grey, depth, 1),
        ColorType::GrayA(depth) => (ColorModel::Grey, depth, 2),
        // This is how grey with alpha and the like are decoded.
        ColorType::Multiband { bit_depth, num_samples } if !is_palette => {
            (ColorModel::Grey, bit_depth, usize::from(num_samples))
        }
        ColorType::RGB(depth) => (ColorModel::Rgb, depth, 3),
        ColorType::RGBA(depth @ 8) if is_premultiplied => (ColorModel::Premultiplied, depth, 4),
        ColorType::RGBA(depth) => (ColorModel::Rgb, depth, 4),
        ColorType::CMYK(depth) => (ColorModel::Cmyk, depth, 4),
        ColorType::CMYKA(depth) => (ColorModel::Cmyk, depth, 5),
        ColorType::YCbCr(depth @ 8) => (ColorModel::YCbCr, depth, 3),
        kind => return Err(unsupported(Format::Tiff, &format!("{kind:?}"))),
    };
    let samples = read(&mut decoder, (height, width), depth, channels)?;
    into.reshape(height, width);
    paint(&samples, colors, &palette, into);
    Ok(())
}

fn reason(error: TiffError) -> Reason {
    match error {
        TiffError::UnsupportedError(what) => unsupported(Format::Tiff, &what.to_string()),
        TiffError::LimitsExceeded => too_large(Format::Tiff),
        error => Reason::Damaged(format!("incomplete TIFF ({error})")),
    }
}

/// Replaces the palette interpretation with grey, because the crate rejects palette files.
/// Returns the file, and whether its samples are palette indices.
fn without_palette(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    const PALETTE: u16 = 3;
    const BLACK_IS_ZERO: u8 = 1;
    match tiff_photometric(bytes) {
        Some((PALETTE, low_byte)) => {
            let mut changed = bytes.to_vec();
            changed[low_byte] = BLACK_IS_ZERO;
            (Cow::Owned(changed), true)
        }
        _ => (Cow::Borrowed(bytes), false),
    }
}

/// Unpacks the samples.
fn read(
    decoder: &mut Decoder<Cursor<&[u8]>>,
    (height, width): (usize, usize),
    depth: u8,
    channels: usize,
) -> Result<Samples, Reason> {
    let mut data = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut data).map_err(reason)?;
    let planes = layout.planes;
    let of_plane = if planes > 1 { 1 } else { channels };
    let short = || Reason::Damaged("a TIFF with too few samples".to_owned());
    let (mut bytes, most) = match (data, depth) {
        (DecodingResult::U8(bytes), 8) => (bytes, 255),
        (DecodingResult::U8(packed), 1 | 2 | 4) if planes <= 1 => {
            let row = (width * channels * usize::from(depth)).div_ceil(8);
            (unpack(&packed, (height, width * channels), row, depth), (1 << depth) - 1)
        }
        (DecodingResult::U16(words), 16) => {
            let round = |word: u16| ((u32::from(word) + 128) / 257) as u8;
            (words.into_iter().map(round).collect(), 255)
        }
        _ => return Err(unsupported(Format::Tiff, &format!("{depth} bits a sample"))),
    };
    let pixels = height * width;
    let plane = match planes {
        0 | 1 => 1,
        _ => bytes.len() / planes.max(1),
    };
    let needed = match planes {
        0 | 1 => pixels * channels,
        _ if planes < channels.min(3) || plane < pixels => return Err(short()),
        _ => plane * planes,
    };
    if bytes.len() < needed {
        return Err(short());
    }
    bytes.truncate(needed);
    Ok(Samples { bytes, steps: [of_plane, width * of_plane, plane], most })
}

/// Expands samples of fewer than eight bits to a byte each. Rows are byte-aligned.
fn unpack(packed: &[u8], (height, samples): (usize, usize), row: usize, depth: u8) -> Vec<u8> {
    let a_byte = usize::from(8 / depth);
    let mask = (1 << depth) - 1;
    let mut bytes = Vec::with_capacity(height * samples);
    for row in packed.chunks_exact(row.max(1)).take(height) {
        let sample = |at: usize| {
            let shift = (a_byte - 1 - at % a_byte) * usize::from(depth);
            row[at / a_byte] >> shift & mask
        };
        bytes.extend((0..samples).map(sample));
    }
    bytes
}

/// Converts samples to pixels.
fn paint(samples: &Samples, colors: ColorModel, palette: &[u16], into: &mut Image) {
    let [pixel, row, channel] = samples.steps;
    let width = into.width;
    let spread = |value: u8| (u32::from(value) * 255 / u32::from(samples.most)) as u8;
    let color = |index: usize, part: usize| {
        let entries = palette.len() / 3;
        if index < entries { (palette[part * entries + index] >> 8) as u8 } else { 0 }
    };
    for (y, to) in into.pixels.chunks_exact_mut(width * 3).enumerate() {
        for (x, to) in to.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let at = y * row + x * pixel;
            let sample = |number: usize| samples.bytes[at + number * channel];
            *to = match colors {
                ColorModel::Grey => [spread(sample(0)); 3],
                ColorModel::Palette => [0, 1, 2].map(|part| color(usize::from(sample(0)), part)),
                ColorModel::Rgb => [0, 1, 2].map(|part| spread(sample(part))),
                ColorModel::Premultiplied => [0, 1, 2].map(|part| divided(sample(part), sample(3))),
                ColorModel::Cmyk => {
                    let [c, m, y, k] = [0, 1, 2, 3].map(|part| spread(sample(part)));
                    [c, m, y].map(|ink| inked(ink, k))
                }
                ColorModel::YCbCr => rgb_of([0, 1, 2].map(sample)),
            };
        }
    }
}

/// Divides a premultiplied colour by its alpha, as Pillow does.
fn divided(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        alpha => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// The remaining light under an ink and black, as Pillow computes it.
fn inked(ink: u8, black: u8) -> u8 {
    let rest = 255 - i32::from(black);
    let product = i32::from(ink) * rest + 128;
    (rest - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
}

/// JFIF's YCbCr to RGB in 16-bit fixed point, as libjpeg computes it.
fn rgb_of([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let r = luma + ((91_881 * red + HALF) >> 16);
    let g = luma + ((-22_554 * blue - 46_802 * red + HALF) >> 16);
    let b = luma + ((116_130 * blue + HALF) >> 16);
    [r, g, b].map(|level| level.clamp(0, 255) as u8)
}
