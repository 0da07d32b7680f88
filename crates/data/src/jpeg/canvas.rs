//! From samples to pixels: chroma at full size, and colours, row by row as units come in.
//!
//! Halved chroma is blended from its neighbours, three parts of the nearer and one of the further,
//! rounded up and down in turn: libjpeg's "fancy" upsampling. Colours are JFIF's, in 16 bits of
//! fraction. Both are exact in whole numbers, hence equal to libjpeg's bit for bit.

use super::header::Header;
use super::region::Region;

/// The samples of a component in one row of units, and the row above.
#[derive(Debug, Default)]
pub(super) struct Plane {
    /// Row by row; the first is the last of the units above.
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    /// Rows without the first.
    height: usize,
    /// Samples of a row that belong to the image.
    width: usize,
    /// Rows of the image.
    rows: usize,
}

/// What is kept from image to image, to make pixels of samples.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    pub(super) planes: [Plane; 3],
    /// A row of chroma whose columns are still halved, in quarters.
    quarters: Vec<u16>,
    /// A row of each chroma at full size.
    chroma: [Vec<u8>; 2],
}

impl Plane {
    fn reset(&mut self, header: &Header, region: &Region, number: usize) {
        let [luma, own] = [header.components[0], header.components[number]];
        let halved = (luma.across / own.across, luma.down / own.down);
        self.stride = region.unit_columns.len() * own.across * 8;
        self.height = own.down * 8;
        let first = region.unit_columns.start * own.across * 8;
        self.width = (header.width.div_ceil(halved.0) - first).min(self.stride);
        self.rows = header.height.div_ceil(halved.1);
        self.samples.resize((self.height + 1) * self.stride, 0);
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
}

impl Canvas {
    pub(super) fn reset(&mut self, header: &Header, region: &Region) {
        for (number, plane) in self.planes[..header.count].iter_mut().enumerate() {
            plane.reset(header, region, number);
        }
        let across = self.planes[0].stride;
        self.quarters.resize(across, 0);
        self.chroma.iter_mut().for_each(|row| row.resize(across, 0));
    }

    /// Writes the rows `rows` of the region's pixels, now that units of row `unit_row` have come
    /// in. `into` are the pixels of the whole image.
    #[inline(always)]
    pub(super) fn paint(
        &mut self,
        header: &Header,
        region: &Region,
        unit_row: usize,
        into: &mut [u8],
    ) {
        let luma = header.components[0];
        let height = luma.down * 8;
        // The last row of halved chroma waits for the row below.
        let ready = match unit_row + 1 == region.unit_rows.end {
            true => region.rows.end,
            false => (unit_row + 1) * height + 1 - luma.down,
        };
        let begun = match unit_row == region.unit_rows.start {
            true => 0,
            false => unit_row * height + 1 - luma.down,
        };
        let rows = begun.max(region.rows.start)..ready.min(region.rows.end);
        let first = region.unit_columns.start * luma.across * 8;
        let (start, end) = (region.columns.start - first, region.columns.end - first);
        for y in rows {
            let to = &mut into[(y * header.width + region.columns.start) * 3..];
            let to = &mut to[..region.columns.len() * 3];
            if header.count == 3 {
                let Canvas { planes: [_, blue, red], quarters, chroma } = self;
                for (plane, to) in [blue, red].into_iter().zip(&mut *chroma) {
                    widen(plane, (luma.across, luma.down), y, unit_row, quarters, to);
                }
                let [blue, red] = chroma.each_ref().map(|row| &row[start..end]);
                colors(&self.planes[0].row(y, unit_row)[start..end], blue, red, to);
            } else {
                greys(&self.planes[0].row(y, unit_row)[start..end], to);
            }
        }
        self.planes[..header.count].iter_mut().for_each(Plane::keep_last_row);
    }
}

/// Row `y` of the image at full size, of a chroma that is halved or not (1 or 2: across, down).
#[inline(always)]
fn widen(
    plane: &Plane,
    (across, down): (usize, usize),
    y: usize,
    unit_row: usize,
    quarters: &mut [u16],
    to: &mut [u8],
) {
    let near = plane.row(y / down, unit_row);
    let far = match (down, y % 2) {
        (1, _) => near,
        (_, 0) => plane.row((y / 2).saturating_sub(1), unit_row),
        _ => plane.row((y / 2 + 1).min(plane.rows - 1), unit_row),
    };
    match (across, down) {
        (1, 1) => to[..near.len()].copy_from_slice(near),
        (1, _) => {
            let rounding = 1 + (y % 2) as u16;
            for ((to, &near), &far) in to.iter_mut().zip(near).zip(far) {
                *to = ((3 * u16::from(near) + u16::from(far) + rounding) >> 2) as u8;
            }
        }
        (_, 1) => {
            let quarters = &mut quarters[..near.len()];
            quarters.iter_mut().zip(near).for_each(|(to, &near)| *to = near.into());
            widen_columns::<2>(quarters, [1, 2], to);
        }
        _ => {
            let quarters = &mut quarters[..near.len()];
            for ((to, &near), &far) in quarters.iter_mut().zip(near).zip(far) {
                *to = 3 * u16::from(near) + u16::from(far);
            }
            widen_columns::<4>(quarters, [8, 7], to);
        }
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

/// JFIF's colours: R = Y + 1.402 Cr, G = Y - 0.34414 Cb - 0.71414 Cr, B = Y + 1.772 Cb.
#[inline(always)]
fn colors(luma: &[u8], blue: &[u8], red: &[u8], to: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    let to = to.as_chunks_mut::<3>().0;
    for (((to, &luma), &blue), &red) in to.iter_mut().zip(luma).zip(blue).zip(red) {
        let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
        let r = luma + ((91_881 * red + HALF) >> 16);
        let g = luma + ((-22_554 * blue - 46_802 * red + HALF) >> 16);
        let b = luma + ((116_130 * blue + HALF) >> 16);
        *to = [r, g, b].map(|level| level.clamp(0, 255) as u8);
    }
}

#[inline(always)]
fn greys(luma: &[u8], to: &mut [u8]) {
    for (to, &luma) in to.as_chunks_mut::<3>().0.iter_mut().zip(luma) {
        *to = [luma; 3];
    }
}
