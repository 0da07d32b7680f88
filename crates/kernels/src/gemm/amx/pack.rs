//! Rounds f32 to bf16, to nearest, ties to even, and packs the result into tiles and rows.
//!
//! Memory bound: if a matrix has the order that a tile needs, a line of a tile takes two loads of
//! 64 bytes, a rounding instruction and a store. A transposed tile takes 64 shuffles more, the time
//! of four tile products.

use super::{Bf16, DEPTH, PACKED, SIDE, TILE};

#[cfg(target_arch = "x86_64")]
#[path = "pack_avx512.rs"]
mod avx512;

/// The operand that a tile belongs to, and the order of its source in memory. A run is a contiguous
/// range of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackLayout {
    /// A's rows; a run is a range of k.
    RowsOfA,
    /// B's columns; a run is a range of k.
    ColumnsOfB,
    /// A transposed: a run is a range of A's rows, at one k.
    AcrossA,
    /// B transposed: a run is a range of B's columns, at one k.
    AcrossB,
}

impl PackLayout {
    /// Whether runs are ranges of k.
    fn along(self) -> bool {
        matches!(self, PackLayout::RowsOfA | PackLayout::ColumnsOfB)
    }

    /// Whether a run becomes a column of the packed tile's pairs.
    fn is_transposed(self) -> bool {
        matches!(self, PackLayout::ColumnsOfB | PackLayout::AcrossA)
    }
}

/// Packs tile by tile. `runs(tile)(idx)` is a range of k (16 of them, up to 32 long) or a range at
/// one k (32 of them, up to 16 long); shorter runs are padded with zeros.
#[inline(always)]
pub(crate) fn tiles<'a, Run: Fn(usize) -> &'a [f32]>(
    source: PackLayout,
    packed: &mut [Bf16],
    runs: impl Fn(usize) -> Run,
) {
    let (packed, rest) = packed.as_chunks_mut::<PACKED>();
    assert!(rest.is_empty(), "not whole tiles");
    #[cfg(target_arch = "x86_64")]
    if tensor::amx().is_ok() {
        // SAFETY: processors with AMX have these instructions.
        return unsafe { avx512::tiles(source, packed, runs) };
    }
    portable::tiles(source, packed, runs);
}

/// Packs a panel: one row of tiles along k. It has `n` rows of A or columns of B (16 at most) and
/// `depth` k of a matrix whose runs are `step` apart.
pub(crate) fn panel(
    source: PackLayout,
    matrix: &[f32],
    step: usize,
    n: usize,
    depth: usize,
    packed: &mut [Bf16],
) {
    let run = |first: usize, len: usize| &matrix[first..first + len];
    if source.along() {
        tiles(source, packed, |tile| {
            let (first, len) = (tile * DEPTH, DEPTH.min(depth - tile * DEPTH));
            move |idx| if idx < n { run(idx * step + first, len) } else { &[] }
        })
    } else {
        tiles(source, packed, |tile| {
            let first = tile * DEPTH;
            move |idx| if first + idx < depth { run((first + idx) * step, n) } else { &[] }
        })
    }
}

/// Runs of equal length, and the distances from one to the next in source and target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    pub count: usize,
    pub len: usize,
    pub from: usize,
    pub to: usize,
}

impl Runs {
    /// Whether they fit into slices of these lengths.
    fn check(&self, from: usize, to: usize) {
        let end = |step: usize| (self.count - 1) * step + self.len;
        assert!(self.count == 0 || end(self.from) <= from && end(self.to) <= to, "{self:?}");
    }
}

/// Rounds runs of x into runs of y.
pub(crate) fn runs(x: &[f32], y: &mut [Bf16], runs: Runs) {
    runs.check(x.len(), y.len());
    #[cfg(target_arch = "x86_64")]
    if tensor::amx().is_ok() {
        // SAFETY: processors with AMX have these instructions; the runs were checked.
        return unsafe { avx512::runs(x, y, runs) };
    }
    for idx in 0..runs.count {
        let x = &x[idx * runs.from..][..runs.len];
        let y = &mut y[idx * runs.to..][..runs.len];
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = portable::round(x));
    }
}

/// Rounds runs of two arrays into runs of pairs: `len` elements of each make 2 `len` elements.
pub(crate) fn pairs([a, b]: [&[f32]; 2], y: &mut [Bf16], runs: Runs) {
    let twice = Runs { len: 2 * runs.len, ..runs };
    twice.check(usize::MAX, y.len());
    runs.check(a.len().min(b.len()), usize::MAX);
    #[cfg(target_arch = "x86_64")]
    if tensor::amx().is_ok() {
        // SAFETY: as above.
        return unsafe { avx512::pairs([a, b], y, runs) };
    }
    for idx in 0..runs.count {
        let [a, b] = [a, b].map(|x| &x[idx * runs.from..][..runs.len]);
        let y = y[idx * runs.to..][..2 * runs.len].as_chunks_mut::<2>().0;
        let both = a.iter().zip(b).map(|(&a, &b)| [a, b].map(portable::round));
        y.iter_mut().zip(both).for_each(|(y, both)| *y = both);
    }
}

/// Copies past the caches, for data that is not read soon, if the target is aligned to a cache
/// line; an ordinary store would read the line first. Call [`fence`] after the last copy.
pub(crate) fn copy_past_caches(from: &[f32; SIDE], to: &mut [f32; SIDE]) {
    #[cfg(target_arch = "x86_64")]
    if tensor::amx().is_ok() && to.as_ptr().cast::<u8>().addr().is_multiple_of(64) {
        // SAFETY: processors with AMX have these instructions; the line is whole.
        return unsafe { avx512::copy_past_caches(from, to) };
    }
    *to = *from;
}

/// Makes copies past the caches visible to other threads.
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// The same without AVX-512, bit-identical.
pub(crate) mod portable {
    use super::{Bf16, DEPTH, PACKED, PackLayout, TILE};

    pub fn tiles<'a, Run: Fn(usize) -> &'a [f32]>(
        source: PackLayout,
        packed: &mut [[Bf16; PACKED]],
        runs: impl Fn(usize) -> Run,
    ) {
        for (tile, packed) in packed.iter_mut().enumerate() {
            let run = runs(tile);
            let element = |idx: usize, at: usize| run(idx).get(at).map_or(0, |&value| round(value));
            for (at, packed) in packed.iter_mut().enumerate() {
                // Row and k in A; or pair of k, column and index in the pair in B.
                let (line, word, odd) = (at / DEPTH, at % DEPTH / 2, at % 2);
                let (line, word) = if source.is_transposed() { (word, line) } else { (line, word) };
                *packed = if source.along() {
                    element(line, 2 * word + odd)
                } else {
                    element(2 * line + odd, word)
                };
            }
        }
        const { assert!(PACKED == TILE * DEPTH) };
    }

    /// As the processor rounds: denormal values become zero, NaNs quiet.
    pub fn round(x: f32) -> Bf16 {
        let bits = x.to_bits();
        let rounded = if x.is_nan() {
            bits | 0x40_0000
        } else if x.abs() < f32::MIN_POSITIVE {
            bits & 0x8000_0000
        } else {
            // Add half a unit, less one bit if the result would be odd; a carry goes into the
            // exponent.
            bits + 0x7FFF + (bits >> 16 & 1)
        };
        (rounded >> 16) as Bf16
    }
}
