//! Applies the orientation that a camera stores in EXIF data.

use crate::inspect::{Exif, inspect};
use augment::{Image, Rectangle};

/// An EXIF orientation from 2 to 8; 1 is the stored orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Orientation {
    /// The orientation of an image file; `None` if it is missing, unreadable or 1.
    pub(crate) fn of(bytes: &[u8]) -> Option<Orientation> {
        match inspect(bytes).ok()?.exif {
            Exif::Orientation(value @ 2..=8) => Some(Orientation(value)),
            _ => None,
        }
    }

    /// Whether rows become columns.
    fn transposes(self) -> bool {
        self.0 >= 5
    }

    /// Whether the stored rows, and the stored columns, are in reverse order.
    fn reverses(self) -> (bool, bool) {
        (matches!(self.0, 3 | 4 | 6 | 7), matches!(self.0, 2 | 3 | 7 | 8))
    }

    /// Height and width of the upright image from those of the stored image, and vice versa.
    pub(crate) fn size(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.transposes() { (width, height) } else { (height, width) }
    }

    /// The part of the stored image, of size `stored` (height, width), that shows `part` of the
    /// upright one.
    pub(crate) fn stored_part(self, part: Rectangle, stored: (usize, usize)) -> Rectangle {
        let Rectangle { mut top, mut left, mut height, mut width } = part;
        if self.transposes() {
            (top, left, height, width) = (left, top, width, height);
        }
        let (rows, columns) = self.reverses();
        if rows {
            top = stored.0 - top - height;
        }
        if columns {
            left = stored.1 - left - width;
        }
        Rectangle { top, left, height, width }
    }

    /// Writes a part of the upright image; all other pixels of `into` are unspecified.
    pub(crate) fn apply(self, stored: &Image, part: Rectangle, into: &mut Image) {
        let (height, width) = self.size((stored.height, stored.width));
        into.reshape(height, width);
        let (rows, columns) = self.reverses();
        let (from, _) = stored.pixels.as_chunks::<3>();
        let (to, _) = into.pixels.as_chunks_mut::<3>();
        // The stored position of a pixel is linear in its upright position.
        let row_step = if rows { -(stored.width as isize) } else { stored.width as isize };
        let column_step = if columns { -1 } else { 1 };
        let (down, across) =
            if self.transposes() { (column_step, row_step) } else { (row_step, column_step) };
        let first_row = if rows { stored.height - 1 } else { 0 };
        let first_column = if columns { stored.width - 1 } else { 0 };
        let first = (first_row * stored.width + first_column) as isize;
        for y in part.top..part.top + part.height {
            let start = first + y as isize * down + part.left as isize * across;
            let row = &mut to[y * width + part.left..][..part.width];
            for (x, to) in row.iter_mut().enumerate() {
                *to = from[(start + x as isize * across) as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (3, 5);

    fn stored() -> Image {
        let (height, width) = SIZE;
        let pixels = (0..height * width).flat_map(|at| [at as u8, 100, 200]).collect();
        Image { height, width, pixels }
    }

    /// Every orientation as in the EXIF standard: the edge of the scene at the 0th row and at the
    /// 0th column. Written by hand, after Pillow 13.0.0's `ImageOps.exif_transpose`.
    const UPRIGHT: [(u8, &[&[u8]]); 7] = [
        (2, &[&[4, 3, 2, 1, 0], &[9, 8, 7, 6, 5], &[14, 13, 12, 11, 10]]),
        (3, &[&[14, 13, 12, 11, 10], &[9, 8, 7, 6, 5], &[4, 3, 2, 1, 0]]),
        (4, &[&[10, 11, 12, 13, 14], &[5, 6, 7, 8, 9], &[0, 1, 2, 3, 4]]),
        (5, &[&[0, 5, 10], &[1, 6, 11], &[2, 7, 12], &[3, 8, 13], &[4, 9, 14]]),
        (6, &[&[10, 5, 0], &[11, 6, 1], &[12, 7, 2], &[13, 8, 3], &[14, 9, 4]]),
        (7, &[&[14, 9, 4], &[13, 8, 3], &[12, 7, 2], &[11, 6, 1], &[10, 5, 0]]),
        (8, &[&[4, 9, 14], &[3, 8, 13], &[2, 7, 12], &[1, 6, 11], &[0, 5, 10]]),
    ];

    #[test]
    fn every_orientation_moves_every_pixel_to_its_place() {
        for (value, rows) in UPRIGHT {
            let mut upright = Image::default();
            let whole = Orientation(value).size(SIZE);
            Orientation(value).apply(&stored(), Rectangle::whole(whole), &mut upright);
            assert_eq!((upright.height, upright.width), (rows.len(), rows[0].len()), "{value}");
            for (y, row) in rows.iter().enumerate() {
                for (x, &number) in row.iter().enumerate() {
                    assert_eq!(upright.pixel(y, x), [number, 100, 200], "{value}: ({y}, {x})");
                }
            }
        }
    }

    /// A part is computed correctly without the pixels outside the stored part.
    #[test]
    fn a_part_needs_only_its_own_pixels() {
        for (value, rows) in UPRIGHT {
            let orientation = Orientation(value);
            let (height, width) = orientation.size(SIZE);
            for (top, left) in (0..height).flat_map(|top| (0..width).map(move |left| (top, left))) {
                let part = Rectangle { top, left, height: height - top, width: 1 };
                let inside = orientation.stored_part(part, SIZE);
                let mut blank = stored();
                for (at, pixel) in blank.pixels.chunks_exact_mut(3).enumerate() {
                    let (y, x) = (at / SIZE.1, at % SIZE.1);
                    let rows = inside.top..inside.top + inside.height;
                    let columns = inside.left..inside.left + inside.width;
                    if !rows.contains(&y) || !columns.contains(&x) {
                        pixel.fill(255);
                    }
                }
                let mut upright = Image::default();
                orientation.apply(&blank, part, &mut upright);
                for (y, row) in rows.iter().enumerate().take(height).skip(top) {
                    assert_eq!(upright.pixel(y, left), [row[left], 100, 200], "{value}");
                }
            }
        }
    }
}
