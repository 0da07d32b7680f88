//! Which units must be decoded for a part of the pixels.

use super::header::Header;
use augment::Rectangle;
use std::ops::Range;

/// A part of an image, and the units (minimal coded units: 8 to 32 pixels a side) that it is made
/// of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) unit_rows: Range<usize>,
    pub(super) unit_columns: Range<usize>,
    /// Units beside each other in the image, and above each other.
    pub(super) units: (usize, usize),
}

impl Region {
    /// The region of `part`, which must lie in the image.
    pub(super) fn of(header: &Header, part: Rectangle) -> Region {
        let columns = part.left..part.left + part.width;
        let rows = part.top..part.top + part.height;
        let (across, down) = header.most;
        let all = &header.components[..header.count];
        let blends_columns = all.iter().any(|component| component.across * 2 == across);
        let blends_rows = all.iter().any(|component| component.down * 2 == down);
        Region {
            unit_columns: units(&columns, across, blends_columns),
            unit_rows: units(&rows, down, blends_rows),
            units: header.units(),
            rows,
            columns,
        }
        .inside()
    }

    /// The margin of a part at the image's edge does not reach beyond it.
    fn inside(mut self) -> Region {
        self.unit_columns.end = self.unit_columns.end.min(self.units.0);
        self.unit_rows.end = self.unit_rows.end.min(self.units.1);
        self
    }

    pub(super) fn is_whole(&self, header: &Header) -> bool {
        self.rows == (0..header.height) && self.columns == (0..header.width)
    }
}

/// The units of `factor` blocks that `pixels` are made of. Where halved samples are blended, those
/// on either side take part.
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

    /// Pixels 16 to 31 of a halved row stand on samples 8 to 15, and lean on 7 and 16.
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
