//! Reads image headers without decoding pixels.

mod exif;
mod headers;
mod tiff;

pub use crate::formats::Format;
pub use exif::Exif;
pub(crate) use tiff::tiff_photometric;

use crate::decode::Reason;
use crate::jpeg::markers::{END_OF_IMAGE, START_OF_SCAN, Segment, Segments};

/// The header of an image; it may contradict the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// According to the first bytes.
    pub format: Format,
    /// Pixel rows.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// The stored colour model.
    pub color: Color,
    /// Bits per channel, or per palette index.
    pub bits: u8,
    /// The orientation stored by the camera.
    pub exif: Exif,
}

/// The stored colour model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// One channel.
    Grey,
    /// Grey and alpha.
    GreyAlpha,
    /// Three channels; in a JPEG usually luma and two chroma channels.
    Rgb,
    /// Three channels and alpha.
    Rgba,
    /// An index into a palette.
    Palette,
    /// Four inks: CMYK or YCCK.
    Cmyk,
}

/// Reads an image header, in a number of steps that is linear in the number of its segments,
/// chunks or directory entries.
///
/// # Errors
/// If the format is unknown, or the header is incomplete.
pub fn inspect(bytes: &[u8]) -> Result<ImageHeader, Reason> {
    let of_none = || {
        if bytes.is_empty() {
            Reason::Empty
        } else {
            Reason::NotAnImage("of a format that cannot be decoded".to_owned())
        }
    };
    let format = Format::of(bytes).ok_or_else(of_none)?;
    let facts = match format {
        Format::Jpeg => jpeg(bytes),
        Format::Png => png(bytes),
        Format::Gif => headers::gif(bytes),
        Format::Bmp => headers::bmp(bytes),
        Format::WebP => headers::webp(bytes),
        Format::Tiff => tiff::facts(bytes),
    };
    facts.ok_or_else(|| Reason::Damaged(format!("incomplete {format} header")))
}

/// Reads a JPEG's segments up to the frame header.
fn jpeg(bytes: &[u8]) -> Option<ImageHeader> {
    let mut exif = Exif::Absent;
    let mut segments = Segments::of(bytes)?;
    loop {
        let Segment { marker, content, .. } = segments.next().ok()?;
        match marker {
            // All frame headers; C4, C8 and CC in that range are tables or reserved.
            0xC0..=0xCF if ![0xC4, 0xC8, 0xCC].contains(&marker) => {
                let &[bits, h1, h0, w1, w0, components, ..] = content else {
                    return None;
                };
                let color = match components {
                    1 => Color::Grey,
                    3 => Color::Rgb,
                    4 => Color::Cmyk,
                    _ => return None,
                };
                let side = |pair| usize::from(u16::from_be_bytes(pair));
                let (height, width) = (side([h1, h0]), side([w1, w0]));
                return Some(ImageHeader {
                    format: Format::Jpeg,
                    height,
                    width,
                    color,
                    bits,
                    exif,
                });
            }
            0xE1 if exif == Exif::Absent => {
                if let Some(tiff) = content.strip_prefix(b"Exif\0\0") {
                    exif = Exif::of(tiff);
                }
            }
            START_OF_SCAN | END_OF_IMAGE => return None, // no frame header
            _ => (),
        }
    }
}

/// The number of bytes before a JPEG's pixels outside of segments; decoders skip them.
pub(crate) fn stray_bytes(bytes: &[u8]) -> usize {
    let Some(mut segments) = Segments::of(bytes) else { return 0 };
    let mut stray = 0;
    while let Ok(segment) = segments.next() {
        stray += segment.stray;
        if segment.marker == START_OF_SCAN {
            break;
        }
    }
    stray
}

/// Reads a PNG's first chunk and those before the pixels.
fn png(bytes: &[u8]) -> Option<ImageHeader> {
    let mut chunks = png_chunks(bytes);
    let (b"IHDR", &[w3, w2, w1, w0, h3, h2, h1, h0, bits, color, ..]) = chunks.next()? else {
        return None;
    };
    let color = match color {
        0 => Color::Grey,
        2 => Color::Rgb,
        3 => Color::Palette,
        4 => Color::GreyAlpha,
        6 => Color::Rgba,
        _ => return None,
    };
    let exif = chunks.find(|(name, _)| *name == b"eXIf");
    let exif = exif.map_or(Exif::Absent, |(_, tiff)| Exif::of(tiff));
    let side = |word| u32::from_be_bytes(word) as usize;
    let (height, width) = (side([h3, h2, h1, h0]), side([w3, w2, w1, w0]));
    Some(ImageHeader { format: Format::Png, height, width, color, bits, exif })
}

/// The names and contents of a PNG's complete chunks.
pub(crate) fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk()?;
        let (name, after) = after.split_first_chunk()?;
        let (content, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        rest = after.get(4..)?; // the checksum
        Some((name, content))
    })
}

/// Whether a file that cannot be decoded is truncated according to its format.
pub(crate) fn is_cut(format: Format, bytes: &[u8]) -> bool {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.as_array().copied());
    let is_beyond = |end: u64| end > bytes.len() as u64;
    match format {
        Format::Png => !png_chunks(bytes).any(|(name, _)| name == b"IEND"),
        Format::Gif => bytes.trim_ascii_end().last() != Some(&b';'),
        Format::WebP => word(4).is_none_or(|len| is_beyond(u64::from(u32::from_le_bytes(len)) + 8)),
        Format::Bmp => word(2).is_none_or(|len| is_beyond(u32::from_le_bytes(len).into())),
        // These formats do not store their length.
        Format::Tiff | Format::Jpeg => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
