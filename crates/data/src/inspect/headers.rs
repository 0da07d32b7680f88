//! The headers of GIF, BMP and WebP.

use super::{Color, Exif, Format, ImageHeader};

/// The size is that of the logical screen; the first frame may be smaller.
pub(super) fn gif(bytes: &[u8]) -> Option<ImageHeader> {
    let &[w0, w1, h0, h1, flags] = bytes.get(6..11)?.as_array()?;
    let side = |pair| usize::from(u16::from_le_bytes(pair));
    Some(ImageHeader {
        format: Format::Gif,
        height: side([h0, h1]),
        width: side([w0, w1]),
        color: Color::Palette,
        // The bits of the global palette's index; without a global palette, the maximum.
        bits: if flags & 0x80 == 0 { 8 } else { (flags & 7) + 1 },
        exif: Exif::Absent,
    })
}

/// Reads the second header: OS/2's of 12 bytes, or Windows' of 40 or more.
pub(super) fn bmp(bytes: &[u8]) -> Option<ImageHeader> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..at + 4)?.as_array()?));
    let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..at + 2)?.as_array()?));
    let length = word(14)?;
    let (width, height, depth) = match length {
        12 => (u32::from(short(18)?), u32::from(short(20)?), short(24)?),
        // A negative height means that the first row is at the top.
        _ => ((word(18)? as i32).max(0) as u32, (word(22)? as i32).unsigned_abs(), short(28)?),
    };
    let is_masked = length >= 56 && [3, 6].contains(&word(30)?);
    let color = match depth {
        1..=8 => Color::Palette,
        16 | 32 if is_masked && word(66)? != 0 => Color::Rgba,
        _ => Color::Rgb,
    };
    let bits = match depth {
        1..=8 => depth as u8,
        16 => 5,
        _ => 8,
    };
    let (height, width) = (height as usize, width as usize);
    Some(ImageHeader { format: Format::Bmp, height, width, color, bits, exif: Exif::Absent })
}

/// Reads the first chunk, and EXIF data in later ones.
pub(super) fn webp(bytes: &[u8]) -> Option<ImageHeader> {
    let mut chunks = webp_chunks(bytes);
    let (name, first) = chunks.next()?;
    let short =
        |at: usize| Some(usize::from(u16::from_le_bytes(*first.get(at..at + 2)?.as_array()?)));
    let triple = |at: usize| Some(short(at)? | usize::from(*first.get(at + 2)?) << 16);
    let (height, width, has_alpha) = match name {
        b"VP8 " if first.get(3..6)? == [0x9D, 0x01, 0x2A] => {
            (short(8)? & 0x3FFF, short(6)? & 0x3FFF, false)
        }
        b"VP8L" if *first.first()? == 0x2F => {
            let word = u32::from_le_bytes(*first.get(1..5)?.as_array()?) as usize;
            ((word >> 14 & 0x3FFF) + 1, (word & 0x3FFF) + 1, word >> 28 & 1 == 1)
        }
        b"VP8X" => (triple(7)? + 1, triple(4)? + 1, first.first()? & 0x10 != 0),
        _ => return None,
    };
    // Only the extended format has further chunks.
    let exif = chunks.find(|(chunk, _)| name == b"VP8X" && *chunk == b"EXIF");
    let exif = exif.map_or(Exif::Absent, |(_, content)| {
        Exif::of(content.strip_prefix(b"Exif\0\0").unwrap_or(content))
    });
    let color = if has_alpha { Color::Rgba } else { Color::Rgb };
    Some(ImageHeader { format: Format::WebP, height, width, color, bits: 8, exif })
}

/// The names and contents of a WebP's chunks; the last may be truncated.
fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk()?;
        let (len, after) = after.split_first_chunk()?;
        let len = u32::from_le_bytes(*len) as usize;
        let content = &after[..len.min(after.len())];
        rest = after.get(len.checked_add(len & 1)?..).unwrap_or_default(); // padded to two
        Some((name, content))
    })
}
