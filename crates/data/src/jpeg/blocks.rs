//! A scan of all components and all their coefficients: unit by unit from bits to samples.

use super::bits::{Bits, Fault, Scan};
use super::canvas::Canvas;
use super::header::{Header, ZIGZAG};
use super::huffman::{Symbol, Table};
use super::idct;
use super::region::Region;

/// Decodes a scan and writes the region's pixels into `into`, those of the whole image. With
/// `to_end` all of the scan is read, and must be sound; otherwise no more than is needed.
#[inline(always)]
pub(super) fn decode(
    header: &Header,
    scan: &Scan,
    region: &Region,
    to_end: bool,
    canvas: &mut Canvas,
    into: &mut [u8],
) -> Result<(), Fault> {
    let mut bits = scan.bits();
    let mut means = [0i32; 4];
    let mut coefficients = [0; 64];
    let (mut piece, mut left) = (0, header.restart);
    let last_row = if to_end { region.units.1 } else { region.unit_rows.end };
    for row in 0..last_row {
        let is_row = region.unit_rows.contains(&row);
        for column in 0..region.units.0 {
            if header.restart > 0 {
                if left == 0 {
                    scan.next_piece(piece, &mut bits)?;
                    (piece, left, means) = (piece + 1, header.restart, [0; 4]);
                }
                left -= 1;
            }
            let place = column.wrapping_sub(region.unit_columns.start);
            let decoded = if is_row && place < region.unit_columns.len() {
                unit(header, &mut bits, &mut means, &mut coefficients, place, canvas)
            } else {
                pass_unit(header, &mut bits, &mut means)
            };
            if decoded.is_none() {
                // Past the end zeros are read, which may be no code.
                return Err(scan.holds(piece, &bits).err().unwrap_or(Fault::Code));
            }
        }
        if is_row {
            canvas.paint(header, region, row, into);
        }
    }
    if to_end { scan.finish(piece, &bits) } else { scan.holds(piece, &bits) }
}

/// Decodes a unit into the planes, in the `place`th column of those that are kept.
#[inline(always)]
fn unit(
    header: &Header,
    bits: &mut Bits<'_>,
    means: &mut [i32; 4],
    coefficients: &mut [i16; 64],
    place: usize,
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
                let to = plane.block(place * own.across + x, y);
                idct::block(coefficients, &own.steps, last, to, stride);
                coefficients.fill(0);
            }
        }
    }
    Some(())
}

/// Passes over a unit.
#[inline(always)]
fn pass_unit(header: &Header, bits: &mut Bits<'_>, means: &mut [i32; 4]) -> Option<()> {
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

/// Reads a block's coefficients. Returns the place of the last that may not be zero.
#[inline(always)]
pub(super) fn block(
    bits: &mut Bits<'_>,
    dc: &Table,
    ac: &Table,
    mean: &mut i32,
    coefficients: &mut [i16; 64],
) -> Option<usize> {
    first(bits, dc, mean)?;
    coefficients[0] = *mean as i16;
    others(bits, ac, |place, symbol, held| {
        coefficients[usize::from(ZIGZAG[place & 127]) & 63] = symbol.value(held) as i16;
    })
}

/// A block's mean, which is coded as the difference from the last.
#[inline(always)]
pub(super) fn first(bits: &mut Bits<'_>, table: &Table, mean: &mut i32) -> Option<()> {
    bits.refill();
    let symbol = table.look(bits.held());
    *mean = mean.wrapping_add(symbol.value(bits.held()));
    bits.skip(symbol.bits());
    (symbol.step() == 0).then_some(())
}

/// A block's other coefficients: `put` is told the place, the symbol and the bits that begin with
/// it. Returns the place of the last, which may be zero.
#[inline(always)]
fn others(
    bits: &mut Bits<'_>,
    table: &Table,
    mut put: impl FnMut(usize, Symbol, u64),
) -> Option<usize> {
    let mut next = 1;
    while next < 64 {
        // A symbol takes 26 bits at most: two of them for each refill.
        bits.refill();
        for _ in 0..2 {
            let (held, symbol) = (bits.held(), table.look(bits.held()));
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
