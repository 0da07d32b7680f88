//! The first directory of a TIFF or BigTIFF file.

use super::{Color, Exif, Format, ImageHeader};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const EXTRA_SAMPLES: u16 = 338;

/// A file with its byte order and offset size.
struct TiffFile<'a> {
    bytes: &'a [u8],
    is_little: bool,
    is_big: bool,
}

/// The first value of a directory entry.
struct FirstValue {
    value: u64,
    /// The offset of its lowest byte.
    low_byte: usize,
}

/// The photometric interpretation, and the offset of its lowest byte.
pub(crate) fn tiff_photometric(bytes: &[u8]) -> Option<(u16, usize)> {
    let mut found = None;
    TiffFile::of(bytes)?.entries(|tag, value| {
        if tag == PHOTOMETRIC {
            found = value.and_then(|v| Some((u16::try_from(v.value).ok()?, v.low_byte)));
        }
    })?;
    found
}

/// Reads the first directory.
pub(super) fn facts(bytes: &[u8]) -> Option<ImageHeader> {
    let file = TiffFile::of(bytes)?;
    let (mut height, mut width, mut bits, mut samples) = (None, None, 1, 1);
    let (mut photometric, mut extra, mut exif) = (1, false, Exif::Absent);
    file.entries(|tag, found| {
        let value = found.map(|found| found.value);
        match tag {
            WIDTH => width = value,
            HEIGHT => height = value,
            BITS => bits = value.unwrap_or(1),
            SAMPLES => samples = value.unwrap_or(1),
            PHOTOMETRIC => photometric = value.unwrap_or(1),
            EXTRA_SAMPLES => extra = true,
            ORIENTATION => {
                exif = match value {
                    Some(value @ 1..=8) => Exif::Orientation(value as u8),
                    _ => Exif::Corrupt("its orientation is not a number from 1 to 8"),
                }
            }
            _ => (),
        }
    })?;
    let color = match photometric {
        0 | 1 if samples >= 2 => Color::GreyAlpha,
        0 | 1 => Color::Grey,
        3 => Color::Palette,
        5 => Color::Cmyk,
        _ if extra && samples >= 4 => Color::Rgba,
        _ => Color::Rgb,
    };
    let side = |value: Option<u64>| usize::try_from(value?).ok();
    let (height, width, bits) = (side(height)?, side(width)?, u8::try_from(bits).ok()?);
    Some(ImageHeader { format: Format::Tiff, height, width, color, bits, exif })
}

impl TiffFile<'_> {
    fn of(bytes: &[u8]) -> Option<TiffFile<'_>> {
        let (is_little, is_big) = match bytes {
            [b'I', b'I', 42, 0, ..] => (true, false),
            [b'M', b'M', 0, 42, ..] => (false, false),
            [b'I', b'I', 43, 0, 8, 0, 0, 0, ..] => (true, true),
            [b'M', b'M', 0, 43, 0, 8, 0, 0, ..] => (false, true),
            _ => return None,
        };
        Some(TiffFile { bytes, is_little, is_big })
    }

    /// An integer of `len` bytes.
    fn number(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(len)?)?.iter();
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        Some(if self.is_little { bytes.rev().fold(0, add) } else { bytes.fold(0, add) })
    }

    /// Calls `each` with the tag and the first value of every entry of the first directory (at most
    /// 65,535). The value is `None` if it is not an integer, or outside the file.
    fn entries(&self, mut each: impl FnMut(u16, Option<FirstValue>)) -> Option<()> {
        let (offset, counts) = if self.is_big { (8, 8) } else { (4, 2) };
        let start = usize::try_from(self.number(if self.is_big { 8 } else { 4 }, offset)?).ok()?;
        let count = self.number(start, counts)?.min(u64::from(u16::MAX)) as usize;
        let entry_len = 4 + 2 * offset;
        for entry in 0..count {
            let at = start.checked_add(counts + entry * entry_len)?;
            let (tag, kind) = (self.number(at, 2)? as u16, self.number(at + 2, 2)?);
            let values = self.number(at + 4, offset)?;
            self.number(at + 4 + offset, offset)?; // the entry is complete
            each(tag, self.first_value(kind, values, at + 4 + offset, offset));
        }
        Some(())
    }

    fn first_value(&self, kind: u64, count: u64, at: usize, offset: usize) -> Option<FirstValue> {
        let len = match kind {
            1 => 1,
            3 => 2,
            4 => 4,
            16 => 8,
            _ => return None,
        };
        let fits = count.checked_mul(len as u64)? <= offset as u64;
        let at = if fits { at } else { usize::try_from(self.number(at, offset)?).ok()? };
        let low_byte = if self.is_little { at } else { at.checked_add(len - 1)? };
        if count == 0 { None } else { Some(FirstValue { value: self.number(at, len)?, low_byte }) }
    }
}
