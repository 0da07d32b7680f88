//! Progressive scans (ITU T.81, annex G): means and bands of coefficients, a few bits at a time.

use super::bits::Bits;
use super::header::ZIGZAG;
use super::huffman::Table;

/// Which coefficients a scan holds, in the order in which they are coded, and which of their bits:
/// those from `low` up, of which those from `high` up have come before (0: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) high: u32,
    pub(super) low: u32,
}

/// The first bits of a mean.
#[inline(always)]
pub(super) fn first_mean(
    bits: &mut Bits<'_>,
    table: &Table,
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

/// One more bit of a mean.
#[inline(always)]
pub(super) fn next_mean(bits: &mut Bits<'_>, low: u32, block: &mut [i16; 64]) {
    block[0] |= i16::from(bits.bit()) << low;
}

/// The first bits of a band of coefficients; `run` is the number of blocks that have none.
#[inline(always)]
pub(super) fn first_bits(
    bits: &mut Bits<'_>,
    table: &Table,
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
    // A coefficient behind the last has been set, or passed.
    (at == band.last + 1).then_some(())
}

/// One more bit of a band of coefficients. Those that are not zero so far have a bit each; those
/// that become so have a code.
#[inline(always)]
pub(super) fn next_bits(
    bits: &mut Bits<'_>,
    table: &Table,
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
            at = pass(bits, block, step, at..band.last + 1, zeros)?;
            block[usize::from(ZIGZAG[at])] = new;
            at += 1;
        }
    }
    if *run > 0 {
        *run -= 1;
        let _ = pass(bits, block, step, at..band.last + 1, 64);
    }
    Some(())
}

/// Adds a bit to each coefficient that is not zero, up to the first that is zero after `zeros` of
/// them. Returns its place; `None` if there are not as many.
#[inline(always)]
fn pass(
    bits: &mut Bits<'_>,
    block: &mut [i16; 64],
    step: i16,
    places: std::ops::Range<usize>,
    mut zeros: u32,
) -> Option<usize> {
    for at in places {
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

/// How many blocks end here: 2^`size` and the number that follows.
#[inline(always)]
fn run_of(bits: &mut Bits<'_>, size: u32) -> u32 {
    (1 << size) + bits.take(size)
}

/// A number of `size` bits: if its first is 0, it is negative and all bits are turned (F.1.2.1).
#[inline(always)]
fn value(bits: &mut Bits<'_>, size: u32) -> i32 {
    let value = bits.take(size) as i32;
    let is_negative = size > 0 && value >> (size - 1) == 0;
    if is_negative { value - (1 << size) + 1 } else { value }
}
