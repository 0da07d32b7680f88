//! Decodes image files.
//!
//! The first bytes decide the format, not the file name. The result equals that of Pillow's
//! `convert("RGB")`: grey is copied to the three channels, CMYK (stored inverted, as all programs
//! do) is multiplied by its black, palettes are looked up, transparency is dropped, and 16 bits are
//! rounded to 8.
//!
//! JPEGs are decoded by this crate, bit-identical to Pillow, and only where a crop shows them.
//! Damage that libjpeg only warns about is an error. For crops, a JPEG of one scan is decoded only
//! down to the last row needed, so that damage below goes undetected if the file has its end
//! marker. Everything else (whole images, `prepare`, `verify`, statistics) decodes complete files.

mod foreign;
mod orientation;

pub use crate::reason::Reason;
pub use augment::ExifMode;
pub(crate) use orientation::Orientation;

use crate::bounded;
use crate::formats::{Format, Unsupported};
use crate::jpeg::markers::{END_OF_IMAGE, START_OF_SCAN, Segments};
use crate::jpeg::{Extent, Jpeg};
use crate::{Error, ReadBuffer, Result};
use augment::{CentreSquare, Image, Rectangle, Resizer};
use std::path::Path;

/// The version of the decoders; prepared data sets record it. Incremented whenever the pixels of
/// some file change. Version 1 decoded unusual JPEGs with zune-jpeg.
pub const DECODER_VERSION: u32 = 2;

/// Larger sides and areas in a header are rejected.
const LARGEST_SIDE: usize = 16_384;
const LARGEST_AREA: usize = 1 << 27;
/// An upper bound of a JPEG's pixels per byte: each block of 8 x 8 takes at least one bit.
const JPEG_PIXELS_A_BYTE: usize = 512;

/// Reads an image file: shorter side resized to `side`, then the centre square. Returns the pixels,
/// and whether the image was enlarged.
///
/// # Errors
/// If the file cannot be read or is not a complete image.
pub fn read_square<'a>(
    path: &Path,
    square: impl Into<CentreSquare>,
    exif: ExifMode,
    buffer: &'a mut ReadBuffer,
) -> Result<(&'a [u8], bool)> {
    read_file(path, buffer)?;
    self::square(square, exif, buffer).map_err(|reason| Error::image(path, reason))
}

/// As [`read_square`], for the bytes in `buffer.file`.
///
/// # Errors
/// The reason, for [`Error::Image`].
pub fn square(
    square: impl Into<CentreSquare>,
    exif: ExifMode,
    buffer: &mut ReadBuffer,
) -> std::result::Result<(&[u8], bool), Reason> {
    let square = square.into();
    let whole = Rectangle::whole((square.side, square.side));
    let part = |size| Resizer::square_reach(size, square, whole);
    buffer.decode_part(exif, part, Extent::Whole)?;
    let shorter = buffer.decoded.height.min(buffer.decoded.width);
    buffer.resizer.square(&buffer.decoded, square, &mut buffer.image);
    Ok((&buffer.image.pixels, shorter < square.side))
}

/// Reads an image file into `buffer.decoded`.
///
/// # Errors
/// If the file cannot be read, or is not a complete image that can be resized.
pub fn read_whole(path: impl AsRef<Path>, exif: ExifMode, buffer: &mut ReadBuffer) -> Result<()> {
    let path = path.as_ref();
    read_file(path, buffer)?;
    buffer.decode(exif).map_err(|reason| Error::image(path, reason))
}

/// Reads a file into `buffer.file`, at most [`bounded::LONGEST_IMAGE`] bytes.
pub(crate) fn read_file(path: &Path, buffer: &mut ReadBuffer) -> Result<()> {
    bounded::read_into(path, bounded::LONGEST_IMAGE, &mut buffer.file)
        .map_err(|error| Error::image(path, Reason::Unreadable(error.to_string())))
}

/// Rejects an image more than a thousand times as long as it is wide, which would take too much
/// memory after resizing its shorter side.
pub(crate) fn check_shape(image: &Image) -> std::result::Result<(), Reason> {
    let (shorter, longer) = (image.height.min(image.width), image.height.max(image.width));
    if is_strip(image.height, image.width) {
        let text = format!("{longer} x {shorter} pixels is not a usable shape");
        return Err(Reason::UnusableSize(text));
    }
    Ok(())
}

fn is_strip(height: usize, width: usize) -> bool {
    height.max(width) / height.min(width).max(1) > 1000
}

/// Whether an image of this size can be used.
pub(crate) fn is_usable(height: usize, width: usize) -> bool {
    let sides = 1..=LARGEST_SIDE;
    let fits = sides.contains(&height) && sides.contains(&width);
    fits && height * width <= LARGEST_AREA && !is_strip(height, width)
}

/// Decodes an image file as stored, ignoring its EXIF orientation.
///
/// # Errors
/// The reason, for [`Error::Image`].
pub fn decode(bytes: &[u8], into: &mut Image) -> std::result::Result<(), Reason> {
    decode_part(bytes, Rectangle::whole, Extent::Whole, &mut Jpeg::default(), into)
}

/// Decodes the part of an image that `part` returns for its height and width; all other pixels are
/// unspecified.
pub(crate) fn decode_part(
    bytes: &[u8],
    part: impl FnOnce((usize, usize)) -> Rectangle,
    extent: Extent,
    jpeg: &mut Jpeg,
    into: &mut Image,
) -> std::result::Result<(), Reason> {
    match bytes {
        [] => Err(Reason::Empty),
        [0xFF, 0xD8, 0xFF, ..] => {
            let part = |height, width| {
                check_jpeg_size(bytes.len(), height, width)?;
                // A strip is rejected after decoding.
                let whole = Rectangle::whole((height, width));
                Ok(if is_strip(height, width) { whole } else { part((height, width)) })
            };
            jpeg.decode(bytes, part, extent, into)
        }
        _ => match (Format::of(bytes), Unsupported::of(bytes)) {
            (Some(format), _) => foreign::decode(format, bytes, into),
            (None, Some(format)) => {
                let text = format!("{format} cannot be decoded: {}", format.remedy());
                Err(Reason::Unsupported(text))
            }
            (None, None) => {
                let text = format!("{}, not an image that can be decoded", guess(bytes));
                Err(Reason::NotAnImage(text))
            }
        },
    }
}

/// Rejects sizes that are unusable or impossible in `len` bytes, before memory is allocated.
fn check_jpeg_size(len: usize, height: usize, width: usize) -> std::result::Result<(), Reason> {
    if height > LARGEST_SIDE || width > LARGEST_SIDE {
        return Err(unusable_size(height, width));
    }
    check_size(height, width)?;
    if height * width > JPEG_PIXELS_A_BYTE * len {
        let text = format!("{len} bytes cannot hold {width} x {height} pixels");
        return Err(Reason::Damaged(format!("incomplete JPEG ({text})")));
    }
    Ok(())
}

/// Whether the end-of-image marker follows the pixels.
///
/// Segments before the first scan are skipped, because one may contain a thumbnail with its own
/// end marker.
pub(crate) fn has_end_of_image(bytes: &[u8]) -> bool {
    let Some(mut segments) = Segments::of(bytes) else { return false };
    while let Ok(segment) = segments.next() {
        match segment.marker {
            START_OF_SCAN => break,
            END_OF_IMAGE => return true,
            _ => (),
        }
    }
    // In coded data 0xFF is always followed by zero or a restart marker, so this is the end marker.
    segments.rest().windows(2).rev().any(|pair| pair == [0xFF, END_OF_IMAGE])
}

fn check_size(height: usize, width: usize) -> std::result::Result<(), Reason> {
    if height == 0 || width == 0 || height * width > LARGEST_AREA {
        Err(unusable_size(height, width))
    } else {
        Ok(())
    }
}

fn unusable_size(height: usize, width: usize) -> Reason {
    Reason::UnusableSize(format!("{width} x {height} pixels is not a usable size"))
}

/// What a file that is not an image seems to be.
fn guess(bytes: &[u8]) -> &'static str {
    let trimmed = bytes.trim_ascii_start();
    match bytes {
        _ if trimmed.starts_with(b"<") => "a web page or other markup",
        _ if bytes
            .iter()
            .take(512)
            .all(|byte| !byte.is_ascii_control() || b"\t\n\r".contains(byte)) =>
        {
            "a text"
        }
        _ => "of unknown format",
    }
}

#[cfg(test)]
mod tests;
