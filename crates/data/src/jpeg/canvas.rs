//! Converts samples to pixels, row by row as units are decoded: upsampling, then colours.
//!
//! Halved channels are interpolated with weights of 3/4 for the nearer and 1/4 for the further
//! neighbour, alternately rounded up and down: libjpeg's "fancy" upsampling. Other ratios, and
//! images that are too narrow, repeat their samples. The integer arithmetic is bit-identical to
//! libjpeg's.

use super::colors::{self, ColorEncoding};
use super::header::JpegHeader;
use super::region::DecodeRegion;

/// Rows with fewer halved samples are not interpolated.
const MIN_INTERPOLATED: usize = 3;

/// The upsampling of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Upsampling {
    /// Full size already.
    #[default]
    None,
    /// Interpolated columns, rows, or both.
    Columns,
    Rows,
    Both,
    /// Every sample repeated by these factors across and down.
    Repeated(usize, usize),
}

/// The samples of a component in one row of units, and the row above.
#[derive(Debug, Default)]
pub(super) struct Plane {
    /// Row by row; the first row is the last one of the units above.
    samples: Vec<u8>,
    pub(super) stride: usize,
    /// The number of rows without the first.
    height: usize,
    /// Samples per row that are part of the image.
    width: usize,
    /// Rows in the image.
    rows: usize,
    upsampling: Upsampling,
    /// A row at full size, if upsampled.
    wide: Vec<u8>,
}

/// The memory for converting samples to pixels; it is reused.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    pub(super) planes: [Plane; 4],
    /// A row whose columns are still halved, in units of 1/4.
    quarters: Vec<u16>,
    colors: ColorEncoding,
    /// Rows of the image that wait for the units below to be interpolated.
    waiting: usize,
}

/// Whether some component is too narrow to be interpolated.
pub(super) fn is_narrow(header: &JpegHeader) -> bool {
    let all = 0..header.count;
    all.map(|number| Upsampling::of(header, number))
        .any(|upsampling| matches!(upsampling, Upsampling::Repeated(2, 1 | 2)))
}

impl Upsampling {
    fn of(header: &JpegHeader, number: usize) -> Upsampling {
        let own = &header.components[number];
        let ratio = (header.max_factors.0 / own.across, header.max_factors.1 / own.down);
        let is_wide = header.samples(number).0 >= MIN_INTERPOLATED;
        match ratio {
            (1, 1) => Upsampling::None,
            (1, 2) => Upsampling::Rows,
            (2, 1) if is_wide => Upsampling::Columns,
            (2, 2) if is_wide => Upsampling::Both,
            (across, down) => Upsampling::Repeated(across, down),
        }
    }
}

impl Plane {
    fn reset(&mut self, header: &JpegHeader, region: &DecodeRegion, number: usize) {
        let own = &header.components[number];
        self.stride = region.unit_columns.len() * own.across * 8;
        self.height = own.down * 8;
        let first = region.unit_columns.start * own.across * 8;
        let (width, rows) = header.samples(number);
        (self.width, self.rows) = ((width - first).min(self.stride), rows);
        self.samples.resize((self.height + 1) * self.stride, 0);
        self.upsampling = Upsampling::of(header, number);
        if self.upsampling != Upsampling::None {
            self.wide.resize(region.unit_columns.len() * header.max_factors.0 * 8, 0);
        }
    }

    /// The samples from the start of a block on, given its column and row of blocks.
    #[inline(always)]
    pub(super) fn block(&mut self, column: usize, row: usize) -> &mut [u8] {
        &mut self.samples[(row * 8 + 1) * self.stride + column * 8..]
    }

    /// Row `y` of this component's image, after units of row `unit_row` have been decoded.
    #[inline(always)]
    fn row(&self, y: usize, unit_row: usize) -> &[u8] {
        let at = y + 1 - unit_row * self.height;
        &self.samples[at * self.stride..][..self.width]
    }

    fn keep_last_row(&mut self) {
        let last = self.height * self.stride;
        self.samples.copy_within(last..last + self.stride, 0);
    }

    /// The further row for the interpolation of row `y`, whose nearer row is `y / 2`.
    #[inline(always)]
    fn further(&self, y: usize, unit_row: usize) -> &[u8] {
        match y % 2 {
            0 => self.row((y / 2).saturating_sub(1), unit_row),
            _ => self.row((y / 2 + 1).min(self.rows - 1), unit_row),
        }
    }

    /// Upsamples row `y` of the image to `wide`, if necessary.
    #[inline(always)]
    fn upsample(&mut self, y: usize, unit_row: usize, quarters: &mut [u16]) {
        let mut wide = std::mem::take(&mut self.wide);
        let quarters = &mut quarters[..self.width];
        match self.upsampling {
            Upsampling::None => (),
            Upsampling::Rows => {
                let rounding = 1 + (y % 2) as u16;
                let rows = self.row(y / 2, unit_row).iter().zip(self.further(y, unit_row));
                for (to, (&near, &far)) in wide.iter_mut().zip(rows) {
                    *to = ((3 * u16::from(near) + u16::from(far) + rounding) >> 2) as u8;
                }
            }
            Upsampling::Columns => {
                let row = self.row(y, unit_row);
                quarters.iter_mut().zip(row).for_each(|(to, &near)| *to = near.into());
                double_columns::<2>(quarters, [1, 2], &mut wide);
            }
            Upsampling::Both => {
                let rows = self.row(y / 2, unit_row).iter().zip(self.further(y, unit_row));
                for (to, (&near, &far)) in quarters.iter_mut().zip(rows) {
                    *to = 3 * u16::from(near) + u16::from(far);
                }
                double_columns::<4>(quarters, [8, 7], &mut wide);
            }
            Upsampling::Repeated(across, down) => {
                let row = self.row(y / down, unit_row);
                for (to, &sample) in wide.chunks_exact_mut(across).zip(row) {
                    to.fill(sample);
                }
            }
        }
        self.wide = wide;
    }

    /// Row `y` of the image at full size, after [`Plane::upsample`].
    #[inline(always)]
    fn full(&self, y: usize, unit_row: usize) -> &[u8] {
        match self.upsampling {
            Upsampling::None => self.row(y, unit_row),
            _ => &self.wide,
        }
    }
}

impl Canvas {
    pub(super) fn reset(&mut self, header: &JpegHeader, region: &DecodeRegion) {
        let planes = &mut self.planes[..header.count];
        for (number, plane) in planes.iter_mut().enumerate() {
            plane.reset(header, region, number);
        }
        let is_blended =
            |plane: &Plane| matches!(plane.upsampling, Upsampling::Rows | Upsampling::Both);
        self.waiting = usize::from(planes.iter().any(is_blended));
        self.quarters.resize(region.unit_columns.len() * header.max_factors.0 * 8, 0);
        self.colors = header.colors();
    }

    /// Disables the colour conversion of three channels.
    pub(super) fn leave_colors(&mut self, header: &JpegHeader) {
        if header.count == 3 {
            self.colors = ColorEncoding::Rgb;
        }
    }

    /// Writes the region's pixel rows that are complete after units of row `unit_row` have been
    /// decoded. `into` are the pixels of the whole image.
    #[inline(always)]
    pub(super) fn paint(
        &mut self,
        header: &JpegHeader,
        region: &DecodeRegion,
        unit_row: usize,
        into: &mut [u8],
    ) {
        let height = header.max_factors.1 * 8;
        let ready = if unit_row + 1 == region.unit_rows.end {
            region.rows.end
        } else {
            (unit_row + 1) * height - self.waiting
        };
        let begun =
            if unit_row == region.unit_rows.start { 0 } else { unit_row * height - self.waiting };
        let rows = begun.max(region.rows.start)..ready.min(region.rows.end);
        let first = region.unit_columns.start * header.max_factors.0 * 8;
        let (start, end) = (region.columns.start - first, region.columns.end - first);
        let planes = &mut self.planes[..header.count];
        for y in rows {
            let to = &mut into[(y * header.width + region.columns.start) * 3..];
            let to = &mut to[..region.columns.len() * 3];
            // Not a closure: it might not be inlined, and then not be vectorised.
            for plane in &mut *planes {
                plane.upsample(y, unit_row, &mut self.quarters);
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

/// Doubles the columns; sums are rounded and shifted by `SHIFT`.
#[inline(always)]
fn double_columns<const SHIFT: u32>(from: &[u16], rounding: [u16; 2], to: &mut [u8]) {
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
