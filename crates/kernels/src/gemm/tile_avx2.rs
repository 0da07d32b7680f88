//! The tile with AVX2.
//!
//! Lower bound: as in [`gemm`](super), with half as many floats per register and half as many
//! registers.

use super::{Layout, Start, Tile};
use std::arch::x86_64::*;

/// Floats in a register.
const LANES: usize = 8;
/// Three rows of A are addressed from one pointer (0, 1 and 2 rows on): 2 pointers and the distance
/// fit into the general registers, 6 pointers would not.
const POINTERS: usize = 2;
/// Steps of k between two updates of the pointers.
const UNROLL: usize = 4;

/// Repeats the body for each row `r` below `R`. The compiler does not unroll a long loop, and the
/// sums would then leave the registers.
macro_rules! each_row {
    ($r:ident < $R:ident, $body:block) => { each_row!($r, $R, $body, 0 1 2 3 4 5) };
    ($r:ident, $R:ident, $body:block, $($row:literal)*) => {
        $(if $row < $R {
            let $r: usize = $row;
            $body
        })*
    };
}

/// # Safety
/// [`Isa::tile`](super::Isa::tile) has checked the tile; `c` is its first element. The processor
/// has AVX2.
pub(super) unsafe fn run(tile: &Tile<'_>, c: *mut f32) {
    // SAFETY: as the caller guarantees.
    unsafe {
        match (tile.rows, tile.columns > LANES) {
            (1, true) => layout::<1, 2>(tile, c),
            (2, true) => layout::<2, 2>(tile, c),
            (3, true) => layout::<3, 2>(tile, c),
            (4, true) => layout::<4, 2>(tile, c),
            (5, true) => layout::<5, 2>(tile, c),
            (6, true) => layout::<6, 2>(tile, c),
            (1, false) => layout::<1, 1>(tile, c),
            (2, false) => layout::<2, 1>(tile, c),
            (3, false) => layout::<3, 1>(tile, c),
            (4, false) => layout::<4, 1>(tile, c),
            (5, false) => layout::<5, 1>(tile, c),
            (6, false) => layout::<6, 1>(tile, c),
            _ => unreachable!("a tile of {} rows", tile.rows),
        }
    }
}

/// # Safety
/// As [`run`].
#[target_feature(enable = "avx2,fma")]
unsafe fn layout<const R: usize, const V: usize>(tile: &Tile<'_>, c: *mut f32) {
    // SAFETY: as the caller guarantees.
    unsafe {
        match tile.layout {
            Layout::Rows(row) => compute::<R, V, true>(tile, c, row),
            Layout::Columns(k) => compute::<R, V, false>(tile, c, k),
        }
    }
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn compute<const R: usize, const V: usize, const ALONG_K: bool>(
    tile: &Tile<'_>,
    c: *mut f32,
    stride: usize,
) {
    // SAFETY: as the caller guarantees.
    let mut sums = unsafe { start::<R, V>(tile, c) };
    for outer in 0..tile.outer.count {
        for middle in 0..tile.middle.count {
            let a = outer * tile.outer.a + middle * tile.middle.a;
            let b = outer * tile.outer.b + middle * tile.middle.b;
            // SAFETY: both offsets are inside their slices, and so are the innermost loop's reads
            // from there.
            unsafe {
                let (a, b) = (tile.a.as_ptr().add(a), tile.b.as_ptr().add(b));
                innermost::<R, V, ALONG_K>(&mut sums, a, b, stride, tile.inner);
            }
        }
    }
    // SAFETY: as the caller guarantees.
    unsafe { finish::<R, V>(tile, c, sums) }
}

/// # Safety
/// `a` and `b` start ranges of `inner` steps.
#[inline(always)]
unsafe fn innermost<const R: usize, const V: usize, const ALONG_K: bool>(
    sums: &mut [[__m256; V]; R],
    mut a: *const f32,
    mut b: *const f32,
    stride: usize,
    inner: usize,
) {
    // SAFETY: each pointer stays inside its range, or one step after it without being read.
    unsafe {
        if ALONG_K {
            let mut rows: [*const f32; POINTERS] =
                std::array::from_fn(|i| a.wrapping_add(3 * i * stride));
            let mut left = inner;
            while left >= UNROLL {
                // Written out: the compiler would not unroll a loop of this length.
                let a = |r: usize, k: usize| *rows[r / 3].wrapping_add(r % 3 * stride).add(k);
                step(sums, b, |r| a(r, 0));
                step(sums, b.add(2 * LANES), |r| a(r, 1));
                step(sums, b.add(2 * 2 * LANES), |r| a(r, 2));
                step(sums, b.add(3 * 2 * LANES), |r| a(r, 3));
                rows.iter_mut().for_each(|row| *row = row.wrapping_add(UNROLL));
                b = b.add(UNROLL * 2 * LANES);
                left -= UNROLL;
            }
            for _ in 0..left {
                step(sums, b, |r| *rows[r / 3].wrapping_add(r % 3 * stride));
                rows.iter_mut().for_each(|row| *row = row.wrapping_add(1));
                b = b.add(2 * LANES);
            }
        } else {
            for _ in 0..inner {
                step(sums, b, |r| *a.add(r));
                a = a.wrapping_add(stride);
                b = b.add(2 * LANES);
            }
        }
    }
}

/// One step of k, for all sums of the tile.
///
/// # Safety
/// `b` starts 16 floats; `a(r)` may be read for every row.
#[inline(always)]
unsafe fn step<const R: usize, const V: usize>(
    sums: &mut [[__m256; V]; R],
    b: *const f32,
    a: impl Fn(usize) -> f32,
) {
    // SAFETY: `b` points to V registers of floats.
    let b: [__m256; V] = std::array::from_fn(|v| unsafe { _mm256_loadu_ps(b.add(v * LANES)) });
    each_row!(r < R, {
        // SAFETY: the processor has these instructions.
        unsafe {
            let a = _mm256_set1_ps(a(r));
            sums[r][0] = _mm256_fmadd_ps(a, b[0], sums[r][0]);
            if V > 1 {
                sums[r][1] = _mm256_fmadd_ps(a, b[1], sums[r][1]);
            }
        }
    });
}

/// For each register, a mask of the tile's columns.
#[inline(always)]
fn masks<const V: usize>(columns: usize) -> [__m256i; V] {
    std::array::from_fn(|v| {
        let some = columns.saturating_sub(v * LANES).min(LANES) as i32;
        // SAFETY: the processor has these instructions.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(some), lanes)
        }
    })
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn start<const R: usize, const V: usize>(
    tile: &Tile<'_>,
    c: *const f32,
) -> [[__m256; V]; R] {
    let masks = masks::<V>(tile.columns);
    // SAFETY: the masks select the tile's elements of C, or of the bias; the rest is not read.
    unsafe {
        let load = |from: *const f32| -> [__m256; V] {
            std::array::from_fn(|v| _mm256_maskload_ps(from.wrapping_add(v * LANES), masks[v]))
        };
        match tile.start {
            Start::Zero => [[_mm256_setzero_ps(); V]; R],
            Start::Sum => {
                let mut sums = [[_mm256_setzero_ps(); V]; R];
                each_row!(r < R, { sums[r] = load(c.add(r * tile.c_row)) });
                sums
            }
            Start::Bias(bias) => [load(bias.as_ptr()); R],
        }
    }
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn finish<const R: usize, const V: usize>(
    tile: &Tile<'_>,
    c: *mut f32,
    mut sums: [[__m256; V]; R],
) {
    let masks = masks::<V>(tile.columns);
    // SAFETY: the masks select the tile's elements.
    unsafe {
        // Loops instead of `map`: a closure that is not inlined is compiled without AVX2, and each
        // instruction in it becomes a call.
        if tile.relu {
            each_row!(r < R, {
                for sum in &mut sums[r] {
                    // The result is the second operand where that is NaN.
                    *sum = _mm256_max_ps(_mm256_setzero_ps(), *sum);
                }
            });
        }
        if tile.last {
            each_row!(r < R, {
                for sum in &mut sums[r] {
                    *sum = flushed(*sum);
                }
            });
        }
        each_row!(r < R, {
            let c = c.add(r * tile.c_row);
            for v in 0..V {
                _mm256_maskstore_ps(c.wrapping_add(v * LANES), masks[v], sums[r][v]);
            }
        });
    }
}

/// [`simd::flushed`](crate::simd::flushed) of each element.
#[inline]
#[target_feature(enable = "avx2")]
fn flushed(values: __m256) -> __m256 {
    let bits = _mm256_castps_si256(values);
    let exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7F80_0000));
    let denormal = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
    // All bits of a denormal value are cleared but its sign.
    let cleared = _mm256_andnot_si256(_mm256_set1_epi32(i32::MIN), denormal);
    _mm256_castsi256_ps(_mm256_andnot_si256(cleared, bits))
}
