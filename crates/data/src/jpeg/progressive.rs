//! Progressive scans (ITU T.81, annex G): bands of coefficients, a few bits at a time.

use super::bits::BitReader;
use super::header::ZIGZAG;
use super::huffman::HuffmanTable;

/// The coefficients of a scan in coding order, and their bits: those from `low` up; those from
/// `high` up were read before (0: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) high: u32,
    pub(super) low: u32,
}

/// Reads the first bits of a DC coefficient.
#[inline(always)]
pub(super) fn first_mean(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    mean: &mut i32,
    low: u32,
    block: &mut [i16; 64],
) -> Option<()> {
    bits.refill();
    let size = table.byte(bits)?;
    if size > 11 {
        return None;
    }
    *mean = mean.wrapping_add(value(bits, size.into()));
    block[0] = (*mean << low) as i16;
    Some(())
}

/// Reads one more bit of a DC coefficient.
#[inline(always)]
pub(super) fn next_mean(bits: &mut BitReader<'_>, low: u32, block: &mut [i16; 64]) {
    block[0] |= i16::from(bits.bit()) << low;
}

/// Reads the first bits of a band; `run` is the number of following blocks without any.
#[inline(always)]
pub(super) fn first_bits(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    band: Band,
    run: &mut u32,
    block: &mut [i16; 64],
) -> Option<()> {
    if *run > 0 {
        *run -= 1;
        return Some(());
    }
    let mut at = band.first;
    while at <= band.last {
        bits.refill();
        let byte = table.byte(bits)?;
        let (zeros, size) = (u32::from(byte >> 4), u32::from(byte & 15));
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                *run = run_of(bits, zeros) - 1;
                return Some(());
            }
            (_, 1..=10) => {
                at += zeros as usize;
                let value = value(bits, size) << band.low;
                *block.get_mut(usize::from(*ZIGZAG.get(at)?))? = value as i16;
                at += 1;
            }
            _ => return None,
        }
    }
    // A coefficient beyond the last one was set or skipped.
    (at == band.last + 1).then_some(())
}

/// Reads one more bit of a band. Nonzero coefficients have one bit each; coefficients that become
/// nonzero have a code.
#[inline(always)]
pub(super) fn next_bits(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    band: Band,
    run: &mut u32,
    block: &mut [i16; 64],
) -> Option<()> {
    let step = 1i16 << band.low;
    let mut at = band.first;
    if *run == 0 {
        while at <= band.last {
            bits.refill();
            let byte = table.byte(bits)?;
            let (zeros, size) = (u32::from(byte >> 4), byte & 15);
            let new = match (zeros, size) {
                (15, 0) => 0,
                (_, 0) => {
                    *run = run_of(bits, zeros);
                    break;
                }
                (_, 1) => [-step, step][usize::from(bits.bit())],
                _ => return None,
            };
            at = refine(bits, block, step, at..band.last + 1, zeros)?;
            block[usize::from(ZIGZAG[at])] = new;
            at += 1;
        }
    }
    if *run > 0 {
        *run -= 1;
        let _ = refine(bits, block, step, at..band.last + 1, 64);
    }
    Some(())
}

/// Reads a bit for each nonzero coefficient up to the zero one that follows `zeros` other zeros.
/// Returns its position; `None` if there are not as many.
#[inline(always)]
fn refine(
    bits: &mut BitReader<'_>,
    block: &mut [i16; 64],
    step: i16,
    positions: std::ops::Range<usize>,
    mut zeros: u32,
) -> Option<usize> {
    for at in positions {
        let coefficient = &mut block[usize::from(ZIGZAG[at]) & 63];
        if *coefficient == 0 {
            if zeros == 0 {
                return Some(at);
            }
            zeros -= 1;
        } else if bits.bit() && *coefficient & step == 0 {
            let step = if *coefficient > 0 { step } else { -step };
            *coefficient = coefficient.wrapping_add(step);
        }
    }
    None
}

/// The number of blocks in a run: 2^`size` plus the following integer.
#[inline(always)]
fn run_of(bits: &mut BitReader<'_>, size: u32) -> u32 {
    (1 << size) + bits.take(size)
}

/// A value of `size` bits: if its first bit is 0, it is negative and inverted (F.1.2.1).
#[inline(always)]
fn value(bits: &mut BitReader<'_>, size: u32) -> i32 {
    let value = bits.take(size) as i32;
    let is_negative = size > 0 && value >> (size - 1) == 0;
    if is_negative { value - (1 << size) + 1 } else { value }
}
