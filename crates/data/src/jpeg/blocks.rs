//! Decodes a scan of all components and all coefficients, unit by unit, from bits to samples.

use super::bits::{BitReader, ScanData, ScanError};
use super::canvas::Canvas;
use super::header::{JpegHeader, ZIGZAG};
use super::huffman::{HuffmanTable, Symbol};
use super::idct;
use super::region::DecodeRegion;

/// Decodes a scan and writes the region's pixels into `into`, the pixels of the whole image. With
/// `to_end`, the whole scan is read and verified; otherwise only what is needed.
#[inline(always)]
pub(super) fn decode(
    header: &JpegHeader,
    scan: &ScanData,
    region: &DecodeRegion,
    to_end: bool,
    canvas: &mut Canvas,
    into: &mut [u8],
) -> Result<(), ScanError> {
    let mut bits = scan.bits();
    let mut means = [0i32; 4];
    let mut coefficients = [0; 64];
    let (mut interval, mut left) = (0, header.restart);
    let last_row = if to_end { region.units.1 } else { region.unit_rows.end };
    for row in 0..last_row {
        let is_row = region.unit_rows.contains(&row);
        for column in 0..region.units.0 {
            if header.restart > 0 {
                if left == 0 {
                    scan.next_interval(interval, &mut bits)?;
                    (interval, left, means) = (interval + 1, header.restart, [0; 4]);
                }
                left -= 1;
            }
            let position = column.wrapping_sub(region.unit_columns.start);
            let decoded = if is_row && position < region.unit_columns.len() {
                unit(header, &mut bits, &mut means, &mut coefficients, position, canvas)
            } else {
                skip_unit(header, &mut bits, &mut means)
            };
            if decoded.is_none() {
                // Zeros are read past the end, which may be an invalid code.
                return Err(scan.holds(interval, &bits).err().unwrap_or(ScanError::Code));
            }
        }
        if is_row {
            canvas.paint(header, region, row, into);
        }
    }
    if to_end { scan.finish(interval, &bits) } else { scan.holds(interval, &bits) }
}

/// Decodes a unit into column `position` of the kept planes.
#[inline(always)]
fn unit(
    header: &JpegHeader,
    bits: &mut BitReader<'_>,
    means: &mut [i32; 4],
    coefficients: &mut [i16; 64],
    position: usize,
    canvas: &mut Canvas,
) -> Option<()> {
    for &number in header.scan.components() {
        let (own, mean) = (&header.components[number & 3], &mut means[number & 3]);
        let plane = &mut canvas.planes[number & 3];
        let (dc, ac) = (&header.dc[own.dc & 3], &header.ac[own.ac & 3]);
        for y in 0..own.down {
            for x in 0..own.across {
                let last = block(bits, dc, ac, mean, coefficients)?;
                let stride = plane.stride;
                let to = plane.block(position * own.across + x, y);
                idct::block(coefficients, &own.steps, last, to, stride);
                coefficients.fill(0);
            }
        }
    }
    Some(())
}

/// Skips a unit.
#[inline(always)]
fn skip_unit(header: &JpegHeader, bits: &mut BitReader<'_>, means: &mut [i32; 4]) -> Option<()> {
    for &number in header.scan.components() {
        let (own, mean) = (&header.components[number & 3], &mut means[number & 3]);
        let (dc, ac) = (&header.dc[own.dc & 3], &header.ac[own.ac & 3]);
        for _ in 0..own.down * own.across {
            first(bits, dc, mean)?;
            others(bits, ac, |_, _, _| ())?;
        }
    }
    Some(())
}

/// Reads a block's coefficients. Returns the position of the last that may be nonzero.
#[inline(always)]
pub(super) fn block(
    bits: &mut BitReader<'_>,
    dc: &HuffmanTable,
    ac: &HuffmanTable,
    mean: &mut i32,
    coefficients: &mut [i16; 64],
) -> Option<usize> {
    first(bits, dc, mean)?;
    coefficients[0] = *mean as i16;
    others(bits, ac, |position, symbol, held| {
        coefficients[usize::from(ZIGZAG[position & 127]) & 63] = symbol.value(held) as i16;
    })
}

/// Reads a block's DC coefficient, which is coded as the difference from the previous one.
#[inline(always)]
pub(super) fn first(bits: &mut BitReader<'_>, table: &HuffmanTable, mean: &mut i32) -> Option<()> {
    bits.refill();
    let symbol = table.look_up(bits.held());
    *mean = mean.wrapping_add(symbol.value(bits.held()));
    bits.skip(symbol.bits());
    (symbol.step() == 0).then_some(())
}

/// Reads a block's AC coefficients: calls `put` with the position, the symbol and the bits that
/// start with it. Returns the position of the last, which may be zero.
#[inline(always)]
fn others(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    mut put: impl FnMut(usize, Symbol, u64),
) -> Option<usize> {
    let mut next = 1;
    while next < 64 {
        // A symbol takes at most 26 bits: two of them per refill.
        bits.refill();
        for _ in 0..2 {
            let (held, symbol) = (bits.held(), table.look_up(bits.held()));
            next += symbol.step();
            put(next - 1, symbol, held);
            bits.skip(symbol.bits());
            if next >= 64 {
                break;
            }
        }
    }
    const FIRST_END: usize = Symbol::END as usize + 1;
    match next {
        64 => Some(63),
        FIRST_END..=192 => Some(next - FIRST_END),
        _ => None,
    }
}
