//! From the bytes of a file to pixels.
//!
//! The first bytes decide what a file is; its name does not. What comes out is what Pillow's
//! `convert("RGB")` makes of the same file: grey is spread over the three channels, CMYK (stored
//! inverted, as all programs do) is multiplied by its black, palettes are looked up and
//! transparency is dropped; 16 bits are rounded to 8.
//!
//! JPEGs are read by a decoder of our own, whose pixels are Pillow's bit for bit, and which makes
//! only those that a crop shows. Damage that libjpeg only warns of is an error here. Where crops
//! are taken, a JPEG of one scan is read down to the last row they need, so that damage below goes
//! unnoticed if the file still has its end; all else (whole images, `prepare`, `verify`,
//! statistics) reads files to the end.

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
use augment::{Image, Rectangle, Resizer};
use std::path::Path;

/// Which decoder makes the pixels; prepared data sets record it. Raised whenever the pixels of some
/// file change: 1 left JPEGs that are not plain to zune-jpeg.
pub const DECODER_VERSION: u32 = 2;

/// Sides and areas above which a header is not believed.
const LARGEST_SIDE: usize = 16_384;
const LARGEST_AREA: usize = 1 << 27;
/// No JPEG holds more pixels a byte: each block of 8 x 8 takes at least a bit for its mean.
const JPEG_PIXELS_A_BYTE: usize = 512;

/// Reads an image file: shorter side resized to `side`, then the centre square. Returns the pixels,
/// and whether the image had to be enlarged.
///
/// # Errors
/// If the file cannot be read or holds no whole image.
pub fn read_square<'a>(
    path: &Path,
    side: usize,
    exif: ExifMode,
    buffer: &'a mut ReadBuffer,
) -> Result<(&'a [u8], bool)> {
    read_file(path, buffer)?;
    square(side, exif, buffer).map_err(|reason| Error::image(path, reason))
}

/// [`read_square`] of the bytes that `buffer.file` holds already.
///
/// # Errors
/// What is wrong with them, for [`Error::Image`].
pub fn square(
    side: usize,
    exif: ExifMode,
    buffer: &mut ReadBuffer,
) -> std::result::Result<(&[u8], bool), Reason> {
    let square = |size| Resizer::square_reach(size, side, Rectangle::whole((side, side)));
    buffer.decode_part(exif, square, Extent::Whole)?;
    let shorter = buffer.decoded.height.min(buffer.decoded.width);
    buffer.resizer.square(&buffer.decoded, side, &mut buffer.image);
    Ok((&buffer.image.pixels, shorter < side))
}

/// Reads an image file into `buffer.decoded`.
///
/// # Errors
/// If the file cannot be read, or holds no whole image that can be resized.
pub fn read_whole(path: &Path, exif: ExifMode, buffer: &mut ReadBuffer) -> Result<()> {
    read_file(path, buffer)?;
    buffer.decode(exif).map_err(|reason| Error::image(path, reason))
}

/// Reads a file's bytes into `buffer.file`, [`bounded::LONGEST_IMAGE`] at most.
pub(crate) fn read_file(path: &Path, buffer: &mut ReadBuffer) -> Result<()> {
    bounded::read_into(path, bounded::LONGEST_IMAGE, &mut buffer.file)
        .map_err(|error| Error::image(path, Reason::Unreadable(error.to_string())))
}

/// Refuses a strip a thousand times as long as it is high: it would grow beyond all memory when its
/// height is resized.
pub(crate) fn check_shape(image: &Image) -> std::result::Result<(), Reason> {
    let (shorter, longer) = (image.height.min(image.width), image.height.max(image.width));
    if is_strip(image.height, image.width) {
        let text = format!("{longer} x {shorter} pixels is no usable shape");
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

/// Decodes an image file's bytes, as they are stored: EXIF's orientation is ignored.
///
/// # Errors
/// What is wrong with them, for [`Error::Image`].
pub fn decode(bytes: &[u8], into: &mut Image) -> std::result::Result<(), Reason> {
    decode_part(bytes, Rectangle::whole, Extent::Whole, &mut Jpeg::default(), into)
}

/// Decodes the part of an image that `part` chooses, told height and width; what the other pixels
/// then hold is unspecified.
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
                // A strip is refused once it has been read.
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
                let text = format!("{}, and no image that can be decoded", guess(bytes));
                Err(Reason::NotAnImage(text))
            }
        },
    }
}

/// Refuses sizes that are beyond use, or that `len` bytes cannot hold: before anything is reserved.
fn check_jpeg_size(len: usize, height: usize, width: usize) -> std::result::Result<(), Reason> {
    if height > LARGEST_SIDE || width > LARGEST_SIDE {
        return Err(unusable_size(height, width));
    }
    check_size(height, width)?;
    if height * width > JPEG_PIXELS_A_BYTE * len {
        let text = format!("{len} bytes cannot hold {width} x {height} pixels");
        return Err(Reason::Damaged(format!("no whole JPEG ({text})")));
    }
    Ok(())
}

/// Whether the end-of-image marker follows the pixels.
///
/// Segments before the first scan are stepped over, as one of them may hold a thumbnail with an end
/// of its own.
pub(crate) fn has_end_of_image(bytes: &[u8]) -> bool {
    let Some(mut segments) = Segments::of(bytes) else { return false };
    while let Ok(segment) = segments.next() {
        match segment.marker {
            START_OF_SCAN => break,
            END_OF_IMAGE => return true,
            _ => (),
        }
    }
    // In coded data 0xFF is always followed by zero or a restart marker, so this is the real thing.
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
    Reason::UnusableSize(format!("{width} x {height} pixels is no usable size"))
}

/// What a file seems to be that is no image.
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
        _ => "of no known format",
    }
}

#[cfg(test)]
mod tests;
