//! The inverse discrete cosine transform of a block.
//!
//! The integer algorithm by Loeffler, Ligtenberg and Moschytz with 13 fraction bits, of which 2 are
//! kept between the passes. This is the arithmetic of the `islow` method, the default of libjpeg
//! and its descendants, so that samples are bit-identical.
//!
//! Columns come first, eight in parallel. A pass is linear and exact up to its final rounding, so
//! that the row pass can be a matrix product, which needs no transposition.

/// Fraction bits of the constants, and between the passes.
const FRACTION: u32 = 13;
const BETWEEN: u32 = 2;

/// The contribution of each coefficient of a row to the eight samples.
const ROWS: [[i32; 8]; 8] = {
    let mut rows = [[0; 8]; 8];
    let mut at = 0;
    while at < 8 {
        let mut unit = [0; 8];
        unit[at] = 1;
        rows[at] = transform(unit);
        at += 1;
    }
    rows
};

/// Eight samples from eight coefficients, scaled by sqrt(8) * 2^13.
#[inline(always)]
const fn transform(from: [i32; 8]) -> [i32; 8] {
    // Wrapping, because damaged files have arbitrary coefficients.
    const fn add(a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    const fn sub(a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    const fn mul(a: i32, b: i32) -> i32 {
        a.wrapping_mul(b)
    }
    let [c0, c1, c2, c3, c4, c5, c6, c7] = from;
    // Even coefficients: a rotation by 6/16 pi.
    let both = mul(add(c2, c6), 4433);
    let (e2, e3) = (sub(both, mul(c6, 15137)), add(both, mul(c2, 6270)));
    let (e0, e1) = (mul(add(c0, c4), 1 << FRACTION), mul(sub(c0, c4), 1 << FRACTION));
    let even = [add(e0, e3), add(e1, e2), sub(e1, e2), sub(e0, e3)];
    // Odd coefficients.
    let all = mul(add(add(c7, c3), add(c5, c1)), 9633);
    let (z1, z2) = (mul(add(c7, c1), -7373), mul(add(c5, c3), -20995));
    let z3 = add(mul(add(c7, c3), -16069), all);
    let z4 = add(mul(add(c5, c1), -3196), all);
    let odd = [
        add(mul(c1, 12299), add(z1, z4)),
        add(mul(c3, 25172), add(z2, z3)),
        add(mul(c5, 16819), add(z2, z4)),
        add(mul(c7, 2446), add(z1, z3)),
    ];
    [
        add(even[0], odd[0]),
        add(even[1], odd[1]),
        add(even[2], odd[2]),
        add(even[3], odd[3]),
        sub(even[3], odd[3]),
        sub(even[2], odd[2]),
        sub(even[1], odd[1]),
        sub(even[0], odd[0]),
    ]
}

/// Writes the 8 x 8 samples of a block into `to`, whose rows are `stride` apart. `last` is the
/// position in scan order of the last coefficient that may be nonzero; `steps` are the
/// quantisation steps.
#[inline(always)]
pub(super) fn block(
    coefficients: &[i16; 64],
    steps: &[i32; 64],
    last: usize,
    to: &mut [u8],
    stride: usize,
) {
    match last {
        0 => flat(i32::from(coefficients[0]).wrapping_mul(steps[0]), to, stride),
        1..=9 => corner::<4>(coefficients, steps, to, stride),
        _ => corner::<8>(coefficients, steps, to, stride),
    }
}

/// An upper bound of the last nonzero position, in the classes that [`block`] distinguishes: 0, 9
/// or 63.
#[inline(always)]
pub(super) fn last_of(coefficients: &[i16; 64]) -> usize {
    let rows = coefficients.as_chunks::<8>().0;
    let (mut above, mut below) = ([0; 8], [0; 8]);
    for (upper, lower) in rows[..4].iter().zip(&rows[4..]) {
        for x in 0..8 {
            above[x] |= upper[x];
            below[x] |= lower[x];
        }
    }
    let is_corner = above[4..] == [0; 4] && below == [0; 8];
    let is_flat = is_corner
        && above[1..4] == [0; 3]
        && [8, 16, 24].iter().all(|&position| coefficients[position] == 0);
    match (is_flat, is_corner) {
        (true, _) => 0,
        (_, true) => 9,
        _ => 63,
    }
}

/// A block with only a DC coefficient.
#[inline(always)]
fn flat(mean: i32, to: &mut [u8], stride: usize) {
    let sample = sample((mean.wrapping_mul(1 << BETWEEN).wrapping_add(16)) >> 5);
    for y in 0..8 {
        to[y * stride..][..8].fill(sample);
    }
}

/// A block whose coefficients are zero beyond the first `N` rows and columns.
#[inline(always)]
fn corner<const N: usize>(
    coefficients: &[i16; 64],
    steps: &[i32; 64],
    to: &mut [u8],
    stride: usize,
) {
    let mut between = [[0; 8]; 8];
    for x in 0..8 {
        let mut column = [0; 8];
        for y in 0..N {
            column[y] = i32::from(coefficients[y * 8 + x]).wrapping_mul(steps[y * 8 + x]);
        }
        let column = transform(column);
        for y in 0..8 {
            const SHIFT: u32 = FRACTION - BETWEEN;
            between[y][x] = column[y].wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
        }
    }
    for (y, row) in between.iter().enumerate() {
        const SHIFT: u32 = FRACTION + BETWEEN + 3;
        let mut sums = [1 << (SHIFT - 1); 8];
        for (&coefficient, shares) in row[..N].iter().zip(&ROWS) {
            for (sum, &share) in sums.iter_mut().zip(shares) {
                *sum = coefficient.wrapping_mul(share).wrapping_add(*sum);
            }
        }
        to[y * stride..][..8].copy_from_slice(&sums.map(|sum| sample(sum >> SHIFT)));
    }
}

#[inline(always)]
fn sample(level: i32) -> u8 {
    level.wrapping_add(128).clamp(0, 255) as u8
}
