//! From f32 to tiles and runs of bf16: rounded to the nearest, of two to the even one.
//!
//! The floor is memory: a tile of a matrix that lies as it is wanted is two loads of 64 bytes, an
//! instruction that rounds and a store a line. One that is turned over takes 64 shuffles more,
//! the time of four of the tile's products.

use super::{Bf16, DEPTH, PACKED, SIDE, TILE};

#[cfg(target_arch = "x86_64")]
#[path = "pack_avx512.rs"]
mod avx512;

/// Which operand a tile is for, and how it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A's rows, each a run of k.
    RowsOfA,
    /// B's columns, each a run of k.
    ColumnsOfB,
    /// For each k a run of A's rows.
    AcrossA,
    /// For each k a run of B's columns.
    AcrossB,
}

impl Source {
    /// Whether runs are of k.
    fn along(self) -> bool {
        matches!(self, Source::RowsOfA | Source::ColumnsOfB)
    }

    /// Whether a run is a column of the packed tile's words.
    fn turned(self) -> bool {
        matches!(self, Source::ColumnsOfB | Source::AcrossA)
    }
}

/// Packs one tile after another. `runs(tile)(idx)` is a run of k (16 of them, up to 32 long) or a
/// run at one k (32 of them, up to 16 long); what a shorter one, or an empty one, lacks is zero.
#[inline(always)]
pub(crate) fn tiles<'a, Run: Fn(usize) -> &'a [f32]>(
    source: Source,
    packed: &mut [Bf16],
    runs: impl Fn(usize) -> Run,
) {
    let (packed, rest) = packed.as_chunks_mut::<PACKED>();
    assert!(rest.is_empty(), "a piece of a tile");
    #[cfg(target_arch = "x86_64")]
    if tensor::amx().is_ok() {
        // SAFETY: whoever has AMX has these instructions.
        return unsafe { avx512::tiles(source, packed, runs) };
    }
    portable::tiles(source, packed, runs);
}

/// A panel: tiles of one row of tiles, k after k. `n` rows of A or columns of B (16 at most) and
/// `depth` k of a matrix whose runs lie `step` apart.
pub(crate) fn panel(
    source: Source,
    matrix: &[f32],
    step: usize,
    (n, depth): (usize, usize),
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

/// Equally long runs: where the first begins, and how far apart they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    pub count: usize,
    pub len: usize,
    pub from: usize,
    pub to: usize,
}

impl Runs {
    /// Whether they lie in slices of so many numbers.
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
        // SAFETY: whoever has AMX has these instructions; the runs were checked.
        return unsafe { avx512::runs(x, y, runs) };
    }
    for idx in 0..runs.count {
        let x = &x[idx * runs.from..][..runs.len];
        let y = &mut y[idx * runs.to..][..runs.len];
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = portable::round(x));
    }
}

/// Rounds runs of two arrays into runs of pairs: `len` of each make 2 `len` numbers.
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

/// Copies to where nobody will read soon, past the caches, if that lies on whole lines of them:
/// else a line would be read before it is written. [`fence`] comes after the last.
pub(crate) fn copy_past_caches(from: &[f32; SIDE], to: &mut [f32; SIDE]) {
    #[cfg(target_arch = "x86_64")]
    if tensor::amx().is_ok() && to.as_ptr().cast::<u8>().addr().is_multiple_of(64) {
        // SAFETY: whoever has AMX has these instructions; whole lines.
        return unsafe { avx512::copy_past_caches(from, to) };
    }
    *to = *from;
}

/// Makes what was copied past the caches visible to other threads.
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// The same without AVX-512, to the same bits.
pub(super) mod portable {
    use super::{Bf16, DEPTH, PACKED, Source, TILE};

    pub fn tiles<'a, Run: Fn(usize) -> &'a [f32]>(
        source: Source,
        packed: &mut [[Bf16; PACKED]],
        runs: impl Fn(usize) -> Run,
    ) {
        for (tile, packed) in packed.iter_mut().enumerate() {
            let run = runs(tile);
            let number =
                |idx: usize, at: usize| run(idx).get(at).map_or(0, |&number| round(number));
            for (at, packed) in packed.iter_mut().enumerate() {
                // Row and k in A, or a pair of k, column and which of the pair in B.
                let (line, word, odd) = (at / DEPTH, at % DEPTH / 2, at % 2);
                let (line, word) = if source.turned() { (word, line) } else { (line, word) };
                *packed = if source.along() {
                    number(line, 2 * word + odd)
                } else {
                    number(2 * line + odd, word)
                };
            }
        }
        const { assert!(PACKED == TILE * DEPTH) };
    }

    /// As the processor does it: numbers below the smallest normal one are zero, NaNs are quiet.
    pub fn round(x: f32) -> Bf16 {
        let bits = x.to_bits();
        let rounded = if x.is_nan() {
            bits | 0x40_0000
        } else if x.abs() < f32::MIN_POSITIVE {
            bits & 0x8000_0000
        } else {
            // Half a unit, less a bit if the unit would become odd; a carry goes on into the
            // exponent.
            bits + 0x7FFF + (bits >> 16 & 1)
        };
        (rounded >> 16) as Bf16
    }
}
