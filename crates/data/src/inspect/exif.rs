//! Reads the orientation in EXIF data.

/// The orientation in a file's EXIF data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exif {
    /// There is no EXIF data, or no orientation in it.
    Absent,
    /// From 1 (as stored) to 8; 3 is upside down, 6 and 8 are rotated by 90 degrees.
    Orientation(u8),
    /// The EXIF data cannot be read; the pixels are unaffected.
    Corrupt(&'static str),
}

const ORIENTATION: u16 = 0x0112;
/// The type of a 16-bit integer.
const SHORT: u16 = 3;

impl Exif {
    /// Reads the first directory of TIFF data, at most 65,535 entries.
    pub fn of(tiff: &[u8]) -> Exif {
        orientation(tiff).map_or_else(Exif::Corrupt, |found| match found {
            Some(orientation) => Exif::Orientation(orientation),
            None => Exif::Absent,
        })
    }
}

fn orientation(tiff: &[u8]) -> Result<Option<u8>, &'static str> {
    let is_little = match tiff {
        [b'I', b'I', 42, 0, ..] => true,
        [b'M', b'M', 0, 42, ..] => false,
        _ => return Err("it is not TIFF data"),
    };
    let short = |at: usize| {
        let pair = [*tiff.get(at)?, *tiff.get(at.checked_add(1)?)?];
        Some(if is_little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    };
    let word = |at: usize| {
        let (first, second) = (u32::from(short(at)?), u32::from(short(at + 2)?));
        Some(if is_little { second << 16 | first } else { first << 16 | second })
    };
    let start = word(4).ok_or("its header is truncated")? as usize;
    let count = short(start).ok_or("its directory is out of range")?;
    for entry in 0..usize::from(count) {
        let at = start + 2 + entry * 12;
        let tag = short(at).ok_or("its directory is truncated")?;
        if tag == ORIENTATION {
            let kind = short(at + 2).zip(word(at + 4)).zip(short(at + 8));
            return match kind.ok_or("its directory is truncated")? {
                ((SHORT, 1), value @ 1..=8) => Ok(Some(value as u8)),
                _ => Err("its orientation is not a number from 1 to 8"),
            };
        }
    }
    Ok(None)
}
