//! The units that must be decoded for a part of the pixels.

use super::header::JpegHeader;
use augment::Rectangle;
use std::ops::Range;

/// A part of an image, and the units (minimum coded units: 8 to 32 pixels per side) that it depends
/// on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DecodeRegion {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) unit_rows: Range<usize>,
    pub(super) unit_columns: Range<usize>,
    /// The numbers of units per row and per column of the image.
    pub(super) units: (usize, usize),
}

impl DecodeRegion {
    /// The region of `part`, which must be inside the image.
    pub(super) fn of(header: &JpegHeader, part: Rectangle) -> DecodeRegion {
        let columns = part.left..part.left + part.width;
        let rows = part.top..part.top + part.height;
        let (across, down) = header.max_factors;
        let all = &header.components[..header.count];
        let blends_columns = all.iter().any(|component| component.across * 2 == across);
        let blends_rows = all.iter().any(|component| component.down * 2 == down);
        DecodeRegion {
            unit_columns: units(&columns, across, blends_columns),
            unit_rows: units(&rows, down, blends_rows),
            units: header.units(),
            rows,
            columns,
        }
        .inside()
    }

    /// Clips the margin of a part at the image's edge.
    fn inside(mut self) -> DecodeRegion {
        self.unit_columns.end = self.unit_columns.end.min(self.units.0);
        self.unit_rows.end = self.unit_rows.end.min(self.units.1);
        self
    }

    pub(super) fn is_whole(&self, header: &JpegHeader) -> bool {
        self.rows == (0..header.height) && self.columns == (0..header.width)
    }
}

/// The units of `factor` blocks that `pixels` depend on. Interpolation of halved samples needs the
/// neighbours on either side.
fn units(pixels: &Range<usize>, factor: usize, is_blended: bool) -> Range<usize> {
    let (first, last) = (pixels.start, pixels.end - 1);
    let (first, last) = if is_blended {
        ((first / 2).saturating_sub(1) * 2, (last / 2 + 1) * 2)
    } else {
        (first, last)
    };
    first / (factor * 8)..last / (factor * 8) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels 16 to 31 of a halved row come from samples 8 to 15, and their neighbours 7 and 16.
    #[test]
    fn chroma_has_neighbours() {
        assert_eq!(units(&(16..32), 2, true), 0..3);
        assert_eq!(units(&(18..30), 2, true), 1..2);
        assert_eq!(units(&(0..1), 2, true), 0..1);
        assert_eq!(units(&(16..32), 1, false), 2..4);
        assert_eq!(units(&(15..17), 1, false), 1..3);
        assert_eq!(units(&(32..64), 4, true), 0..3);
        assert_eq!(units(&(34..62), 4, true), 1..2);
        assert_eq!(units(&(32..64), 4, false), 1..2);
    }
}
