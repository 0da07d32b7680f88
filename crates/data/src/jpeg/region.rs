//! Which units must be decoded for a part of the pixels.

use super::header::Header;
use augment::Rectangle;
use std::ops::Range;

/// A part of an image, and the units (minimal coded units: 8 or 16 pixels a side) that it is made
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
        let luma = header.components[0];
        let columns = part.left..part.left + part.width;
        let rows = part.top..part.top + part.height;
        Region {
            unit_columns: units(&columns, luma.across),
            unit_rows: units(&rows, luma.down),
            units: (header.width.div_ceil(luma.across * 8), header.height.div_ceil(luma.down * 8)),
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

/// The units of `factor` blocks that `pixels` are made of. Where chroma is halved, its samples on
/// either side take part.
fn units(pixels: &Range<usize>, factor: usize) -> Range<usize> {
    let margin = factor - 1;
    let first = (pixels.start / factor).saturating_sub(margin) / 8;
    let last = ((pixels.end - 1) / factor + margin) / 8;
    first..last + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels 16 to 31 of a halved row stand on samples 8 to 15, and lean on 7 and 16.
    #[test]
    fn chroma_has_neighbours() {
        assert_eq!(units(&(16..32), 2), 0..3);
        assert_eq!(units(&(18..30), 2), 1..2);
        assert_eq!(units(&(0..1), 2), 0..1);
        assert_eq!(units(&(16..32), 1), 2..4);
        assert_eq!(units(&(15..17), 1), 1..3);
    }
}
