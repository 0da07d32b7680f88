//! Formats decoded by other crates: PNG, BMP and WebP with `image`; [`gif`] and [`tiff`] with the
//! crates that `image` uses itself, because it discards information needed here.
//!
//! The decoders are not trusted: sizes are checked before memory is allocated, memory is limited,
//! and a panic is an error of the file.

mod gif;
mod tiff;

use super::{LARGEST_SIDE, Reason, check_size};
use crate::formats::Format;
use crate::inspect::inspect;
use ::image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
};
use augment::Image;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The memory limit of a decoder per image, besides the resulting pixels (3 bytes each).
const MAX_MEMORY: u64 = 512 << 20;

/// Decodes a file of `format`, which is not JPEG.
pub(super) fn decode(format: Format, bytes: &[u8], into: &mut Image) -> Result<(), Reason> {
    let facts = inspect(bytes)?;
    check_size(facts.height, facts.width)?; // before memory is allocated
    guarded(format, into, |into| match format {
        Format::Gif => gif::decode(bytes, into),
        Format::Tiff => tiff::decode(bytes, into),
        Format::Png => through_image(format, ImageFormat::Png, bytes, into),
        Format::Bmp => through_image(format, ImageFormat::Bmp, bytes, into),
        Format::WebP => through_image(format, ImageFormat::WebP, bytes, into),
        Format::Jpeg => unreachable!("JPEGs have a decoder of their own"),
    })
}

/// Runs `decode` and turns a panic into an error.
fn guarded(
    format: Format,
    into: &mut Image,
    decode: impl FnOnce(&mut Image) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let decoded = catch_unwind(AssertUnwindSafe(|| decode(into)));
    decoded.unwrap_or_else(|_| {
        *into = Image::default();
        Err(Reason::Damaged(format!("the {format} decoder panicked; please report this")))
    })
}

fn through_image(
    format: Format,
    kind: ImageFormat,
    bytes: &[u8],
    into: &mut Image,
) -> Result<(), Reason> {
    let reason = |error: ImageError| match error {
        ImageError::Unsupported(_) => unsupported(format, &error.to_string()),
        ImageError::Limits(_) => too_large(format),
        _ => Reason::Damaged(format!("incomplete {format} ({error})")),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE as u32);
    limits.max_image_height = Some(LARGEST_SIDE as u32);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    check_size(height, width)?;
    if decoder.total_bytes() > MAX_MEMORY {
        return Err(too_large(format));
    }
    if decoder.color_type() == ColorType::Rgb8 {
        into.reshape(height, width);
        return decoder.read_image(&mut into.pixels).map_err(reason);
    }
    let decoded = DynamicImage::from_decoder(decoder).map_err(reason)?.into_rgb8();
    *into = Image { height, width, pixels: decoded.into_raw() };
    Ok(())
}

/// A valid file of an unsupported kind.
fn unsupported(format: Format, what: &str) -> Reason {
    Reason::Unsupported(format!(
        "a {format} of a kind that cannot be decoded ({what}): convert it to PNG or JPEG, e.g. \
         with ImageMagick's `magick`"
    ))
}

fn too_large(format: Format) -> Reason {
    let most = MAX_MEMORY >> 20;
    Reason::UnusableSize(format!(
        "not a usable size: a {format} that takes more than {most} MiB to decode"
    ))
}

#[cfg(test)]
mod tests;
