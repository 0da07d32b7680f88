//! From samples to pixels, row by row as units come in: channels at full size, then colours.
//!
//! Halved channels are blended from their neighbours, three parts of the nearer and one of the
//! further, rounded up and down in turn: libjpeg's "fancy" upsampling. Other ratios, and images
//! too narrow to be blended, repeat their samples. All is exact in whole numbers, hence equal to
//! libjpeg's bit for bit.

use super::colors::{self, Colors};
use super::header::Header;
use super::region::Region;

/// Rows with fewer halved samples are not blended.
const NARROWEST: usize = 3;

/// How a component comes to full size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Widening {
    /// It is there already.
    #[default]
    None,
    /// Blended columns, rows, or both.
    Columns,
    Rows,
    Both,
    /// Every sample so many times beside and above itself.
    Repeated(usize, usize),
}

/// The samples of a component in one row of units, and the row above.
#[derive(Debug, Default)]
pub(super) struct Plane {
    /// Row by row; the first is the last of the units above.
    samples: Vec<u8>,
    pub(super) stride: usize,
    /// Rows without the first.
    height: usize,
    /// Samples of a row that belong to the image.
    width: usize,
    /// Rows of the image.
    rows: usize,
    widening: Widening,
    /// A row at full size, if that is another.
    wide: Vec<u8>,
}

/// What is kept from image to image, to make pixels of samples.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    pub(super) planes: [Plane; 4],
    /// A row whose columns are still halved, in quarters.
    quarters: Vec<u16>,
    colors: Colors,
    /// Rows of the image that wait for the units below, as they are blended with them.
    waiting: usize,
}

/// Whether some component is too narrow to be blended.
pub(super) fn is_narrow(header: &Header) -> bool {
    let all = 0..header.count;
    all.map(|number| Widening::of(header, number))
        .any(|widening| matches!(widening, Widening::Repeated(2, 1 | 2)))
}

impl Widening {
    fn of(header: &Header, number: usize) -> Widening {
        let own = &header.components[number];
        let ratio = (header.most.0 / own.across, header.most.1 / own.down);
        let is_wide = header.samples(number).0 >= NARROWEST;
        match ratio {
            (1, 1) => Widening::None,
            (1, 2) => Widening::Rows,
            (2, 1) if is_wide => Widening::Columns,
            (2, 2) if is_wide => Widening::Both,
            (across, down) => Widening::Repeated(across, down),
        }
    }
}

impl Plane {
    fn reset(&mut self, header: &Header, region: &Region, number: usize) {
        let own = &header.components[number];
        self.stride = region.unit_columns.len() * own.across * 8;
        self.height = own.down * 8;
        let first = region.unit_columns.start * own.across * 8;
        let (width, rows) = header.samples(number);
        (self.width, self.rows) = ((width - first).min(self.stride), rows);
        self.samples.resize((self.height + 1) * self.stride, 0);
        self.widening = Widening::of(header, number);
        if self.widening != Widening::None {
            self.wide.resize(region.unit_columns.len() * header.most.0 * 8, 0);
        }
    }

    /// Where the block in a column and row of blocks begins.
    #[inline(always)]
    pub(super) fn block(&mut self, column: usize, row: usize) -> &mut [u8] {
        &mut self.samples[(row * 8 + 1) * self.stride + column * 8..]
    }

    /// Row `y` of the image (of this component's), if units of row `unit_row` have just come in.
    #[inline(always)]
    fn row(&self, y: usize, unit_row: usize) -> &[u8] {
        let at = y + 1 - unit_row * self.height;
        &self.samples[at * self.stride..][..self.width]
    }

    fn keep_last_row(&mut self) {
        let last = self.height * self.stride;
        self.samples.copy_within(last..last + self.stride, 0);
    }

    /// The row that row `y` of the image is blended with, whose own row is `y / 2`.
    #[inline(always)]
    fn further(&self, y: usize, unit_row: usize) -> &[u8] {
        match y % 2 {
            0 => self.row((y / 2).saturating_sub(1), unit_row),
            _ => self.row((y / 2 + 1).min(self.rows - 1), unit_row),
        }
    }

    /// Makes row `y` of the image in `wide`, unless it is there already.
    #[inline(always)]
    fn widen(&mut self, y: usize, unit_row: usize, quarters: &mut [u16]) {
        let mut wide = std::mem::take(&mut self.wide);
        let quarters = &mut quarters[..self.width];
        match self.widening {
            Widening::None => (),
            Widening::Rows => {
                let rounding = 1 + (y % 2) as u16;
                let rows = self.row(y / 2, unit_row).iter().zip(self.further(y, unit_row));
                for (to, (&near, &far)) in wide.iter_mut().zip(rows) {
                    *to = ((3 * u16::from(near) + u16::from(far) + rounding) >> 2) as u8;
                }
            }
            Widening::Columns => {
                let row = self.row(y, unit_row);
                quarters.iter_mut().zip(row).for_each(|(to, &near)| *to = near.into());
                widen_columns::<2>(quarters, [1, 2], &mut wide);
            }
            Widening::Both => {
                let rows = self.row(y / 2, unit_row).iter().zip(self.further(y, unit_row));
                for (to, (&near, &far)) in quarters.iter_mut().zip(rows) {
                    *to = 3 * u16::from(near) + u16::from(far);
                }
                widen_columns::<4>(quarters, [8, 7], &mut wide);
            }
            Widening::Repeated(across, down) => {
                let row = self.row(y / down, unit_row);
                for (to, &sample) in wide.chunks_exact_mut(across).zip(row) {
                    to.fill(sample);
                }
            }
        }
        self.wide = wide;
    }

    /// Row `y` of the image at full size, after [`Plane::widen`].
    #[inline(always)]
    fn full(&self, y: usize, unit_row: usize) -> &[u8] {
        match self.widening {
            Widening::None => self.row(y, unit_row),
            _ => &self.wide,
        }
    }
}

impl Canvas {
    pub(super) fn reset(&mut self, header: &Header, region: &Region) {
        let planes = &mut self.planes[..header.count];
        for (number, plane) in planes.iter_mut().enumerate() {
            plane.reset(header, region, number);
        }
        let is_blended = |plane: &Plane| matches!(plane.widening, Widening::Rows | Widening::Both);
        self.waiting = usize::from(planes.iter().any(is_blended));
        self.quarters.resize(region.unit_columns.len() * header.most.0 * 8, 0);
        self.colors = header.colors();
    }

    /// Has channels painted as they are stored, if there are three.
    pub(super) fn leave_colors(&mut self, header: &Header) {
        if header.count == 3 {
            self.colors = Colors::Rgb;
        }
    }

    /// Writes the rows of the region's pixels that are known now that units of row `unit_row` have
    /// come in. `into` are the pixels of the whole image.
    #[inline(always)]
    pub(super) fn paint(
        &mut self,
        header: &Header,
        region: &Region,
        unit_row: usize,
        into: &mut [u8],
    ) {
        let height = header.most.1 * 8;
        let ready = if unit_row + 1 == region.unit_rows.end {
            region.rows.end
        } else {
            (unit_row + 1) * height - self.waiting
        };
        let begun =
            if unit_row == region.unit_rows.start { 0 } else { unit_row * height - self.waiting };
        let rows = begun.max(region.rows.start)..ready.min(region.rows.end);
        let first = region.unit_columns.start * header.most.0 * 8;
        let (start, end) = (region.columns.start - first, region.columns.end - first);
        let planes = &mut self.planes[..header.count];
        for y in rows {
            let to = &mut into[(y * header.width + region.columns.start) * 3..];
            let to = &mut to[..region.columns.len() * 3];
            // No closure here: it might not be inlined, and would know no wide vectors then.
            for plane in &mut *planes {
                plane.widen(y, unit_row, &mut self.quarters);
            }
            let mut channels: [&[u8]; 4] = [&[]; 4];
            for (channel, plane) in channels.iter_mut().zip(&*planes) {
                *channel = &plane.full(y, unit_row)[start..end];
            }
            colors::paint(self.colors, channels, to);
        }
        planes.iter_mut().for_each(Plane::keep_last_row);
    }
}

/// Two columns for each; sums are rounded and shifted by `SHIFT`.
#[inline(always)]
fn widen_columns<const SHIFT: u32>(from: &[u16], rounding: [u16; 2], to: &mut [u8]) {
    let to = &mut to.as_chunks_mut::<2>().0[..from.len()];
    let (first, last) = (from[0], from[from.len() - 1]);
    let inner = &mut to[1..from.len() - 1];
    let neighbours = from.iter().zip(&from[1..]).zip(&from[2..]);
    for (to, ((&before, &here), &after)) in inner.iter_mut().zip(neighbours) {
        to[0] = ((3 * here + before + rounding[0]) >> SHIFT) as u8;
        to[1] = ((3 * here + after + rounding[1]) >> SHIFT) as u8;
    }
    let (next, previous) = (from[1], from[from.len() - 2]);
    to[0] = [(4 * first + rounding[0]) >> SHIFT, (3 * first + next + rounding[1]) >> SHIFT]
        .map(|sum| sum as u8);
    to[from.len() - 1] =
        [(3 * last + previous + rounding[0]) >> SHIFT, (4 * last + rounding[1]) >> SHIFT]
            .map(|sum| sum as u8);
}
