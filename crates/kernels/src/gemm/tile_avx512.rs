//! The tile with AVX-512.
//!
//! Lower bound: see [`gemm`](super).

use super::{Layout, Start, Tile};
use std::arch::asm;
use std::arch::x86_64::*;

/// Floats in a register.
const LANES: usize = 16;
/// Rows of the largest tile.
const ROWS: usize = 14;

/// The sums of a tile. Lower tiles do not use all rows, and narrower ones not the second register.
type Accumulators = [[__m512; 2]; ROWS];

/// One row of one step of k: `a` broadcast, times the one or two registers of B. The assembler
/// skips it for tiles with fewer rows.
#[rustfmt::skip]
macro_rules! row {
    ($row:literal, $sum0:literal, $sum1:literal, $($a:tt),*) => {
        concat!(
            ".if {rows} > ", $row, "\n",
            "vbroadcastss zmm30, dword ptr [", $($a),*, "]\n",
            "vfmadd231ps zmm", $sum0, ", zmm28, zmm30\n",
            ".if {registers} > 1\n",
            "vfmadd231ps zmm", $sum1, ", zmm29, zmm30\n",
            ".endif\n",
            ".endif\n",
        )
    };
}

/// Step `k` after the pointers. Rows are `stride` bytes apart.
#[rustfmt::skip]
macro_rules! step_along_rows {
    ($k:literal) => {
        concat!(
            "vmovups zmm28, [{b} + 128 * ", $k, "]\n",
            ".if {registers} > 1\n",
            "vmovups zmm29, [{b} + 128 * ", $k, " + 64]\n",
            ".endif\n",
            row!("0", "0", "1", "{a0} + 4 * ", $k),
            row!("1", "2", "3", "{a0} + {stride} + 4 * ", $k),
            row!("2", "4", "5", "{a0} + 2 * {stride} + 4 * ", $k),
            row!("3", "6", "7", "{a1} + 4 * ", $k),
            row!("4", "8", "9", "{a1} + {stride} + 4 * ", $k),
            row!("5", "10", "11", "{a1} + 2 * {stride} + 4 * ", $k),
            row!("6", "12", "13", "{a2} + 4 * ", $k),
            row!("7", "14", "15", "{a2} + {stride} + 4 * ", $k),
            row!("8", "16", "17", "{a2} + 2 * {stride} + 4 * ", $k),
            row!("9", "18", "19", "{a3} + 4 * ", $k),
            row!("10", "20", "21", "{a3} + {stride} + 4 * ", $k),
            row!("11", "22", "23", "{a3} + 2 * {stride} + 4 * ", $k),
            row!("12", "24", "25", "{a4} + 4 * ", $k),
            row!("13", "26", "27", "{a4} + {stride} + 4 * ", $k),
        )
    };
}

/// One step of k. Rows are adjacent.
#[rustfmt::skip]
macro_rules! step_across_rows {
    () => {
        concat!(
            "vmovups zmm28, [{b}]\n",
            ".if {registers} > 1\n",
            "vmovups zmm29, [{b} + 64]\n",
            ".endif\n",
            row!("0", "0", "1", "{a} + 0"),
            row!("1", "2", "3", "{a} + 4"),
            row!("2", "4", "5", "{a} + 8"),
            row!("3", "6", "7", "{a} + 12"),
            row!("4", "8", "9", "{a} + 16"),
            row!("5", "10", "11", "{a} + 20"),
            row!("6", "12", "13", "{a} + 24"),
            row!("7", "14", "15", "{a} + 28"),
            row!("8", "16", "17", "{a} + 32"),
            row!("9", "18", "19", "{a} + 36"),
            row!("10", "20", "21", "{a} + 40"),
            row!("11", "22", "23", "{a} + 44"),
            row!("12", "24", "25", "{a} + 48"),
            row!("13", "26", "27", "{a} + 52"),
        )
    };
}

/// An assembler block that keeps the sums in registers 0 to 27.
macro_rules! with_sums {
    ($sums:ident, $R:ident, $V:ident, $($text:expr),*; $($operands:tt)*) => {
        asm!(
            $($text,)*
            $($operands)*
            rows = const $R,
            registers = const $V,
            inout("zmm0") $sums[0][0],
            inout("zmm1") $sums[0][1],
            inout("zmm2") $sums[1][0],
            inout("zmm3") $sums[1][1],
            inout("zmm4") $sums[2][0],
            inout("zmm5") $sums[2][1],
            inout("zmm6") $sums[3][0],
            inout("zmm7") $sums[3][1],
            inout("zmm8") $sums[4][0],
            inout("zmm9") $sums[4][1],
            inout("zmm10") $sums[5][0],
            inout("zmm11") $sums[5][1],
            inout("zmm12") $sums[6][0],
            inout("zmm13") $sums[6][1],
            inout("zmm14") $sums[7][0],
            inout("zmm15") $sums[7][1],
            inout("zmm16") $sums[8][0],
            inout("zmm17") $sums[8][1],
            inout("zmm18") $sums[9][0],
            inout("zmm19") $sums[9][1],
            inout("zmm20") $sums[10][0],
            inout("zmm21") $sums[10][1],
            inout("zmm22") $sums[11][0],
            inout("zmm23") $sums[11][1],
            inout("zmm24") $sums[12][0],
            inout("zmm25") $sums[12][1],
            inout("zmm26") $sums[13][0],
            inout("zmm27") $sums[13][1],
            out("zmm28") _,
            out("zmm29") _,
            out("zmm30") _,
            options(readonly, nostack),
        )
    };
}

/// # Safety
/// [`Isa::tile`](super::Isa::tile) has checked the tile; `c` is its first element. The processor
/// has AVX-512.
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
            (7, true) => layout::<7, 2>(tile, c),
            (8, true) => layout::<8, 2>(tile, c),
            (9, true) => layout::<9, 2>(tile, c),
            (10, true) => layout::<10, 2>(tile, c),
            (11, true) => layout::<11, 2>(tile, c),
            (12, true) => layout::<12, 2>(tile, c),
            (13, true) => layout::<13, 2>(tile, c),
            (14, true) => layout::<14, 2>(tile, c),
            (1, false) => layout::<1, 1>(tile, c),
            (2, false) => layout::<2, 1>(tile, c),
            (3, false) => layout::<3, 1>(tile, c),
            (4, false) => layout::<4, 1>(tile, c),
            (5, false) => layout::<5, 1>(tile, c),
            (6, false) => layout::<6, 1>(tile, c),
            (7, false) => layout::<7, 1>(tile, c),
            (8, false) => layout::<8, 1>(tile, c),
            (9, false) => layout::<9, 1>(tile, c),
            (10, false) => layout::<10, 1>(tile, c),
            (11, false) => layout::<11, 1>(tile, c),
            (12, false) => layout::<12, 1>(tile, c),
            (13, false) => layout::<13, 1>(tile, c),
            (14, false) => layout::<14, 1>(tile, c),
            _ => unreachable!("a tile of {} rows", tile.rows),
        }
    }
}

/// # Safety
/// As [`run`].
#[target_feature(enable = "avx512f")]
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
#[inline]
#[target_feature(enable = "avx512f")]
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
    unsafe { finish::<R, V>(tile, c, &sums) }
}

/// The innermost loop over k.
///
/// In assembler: 28 sums and their operands fill 31 of the 32 registers, and the compiler, which
/// tends to load early, spills sums to memory for some heights of a tile.
///
/// # Safety
/// `a` and `b` start ranges of `inner` steps; the processor has AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn innermost<const R: usize, const V: usize, const ALONG_K: bool>(
    sums: &mut Accumulators,
    a: *const f32,
    b: *const f32,
    stride: usize,
    inner: usize,
) {
    if inner == 0 {
        return;
    }
    if ALONG_K {
        // Three rows are addressed from one pointer (0, 1 and 2 strides on): fourteen pointers
        // would not fit into the general registers.
        let pointer = |row: usize| a.wrapping_add(row.min(R - 1) * stride);
        // SAFETY: reads only the ranges that the caller guarantees.
        unsafe {
            with_sums!(sums, R, V,
                "sub {left}, 4",
                "jb 3f",
                ".p2align 5",
                "2:",
                step_along_rows!("0"),
                step_along_rows!("1"),
                step_along_rows!("2"),
                step_along_rows!("3"),
                "add {a0}, 16",
                "add {a1}, 16",
                "add {a2}, 16",
                "add {a3}, 16",
                "add {a4}, 16",
                "add {b}, 512",
                "sub {left}, 4",
                "jae 2b",
                "3:",
                "add {left}, 4",
                "jz 5f",
                "4:",
                step_along_rows!("0"),
                "add {a0}, 4",
                "add {a1}, 4",
                "add {a2}, 4",
                "add {a3}, 4",
                "add {a4}, 4",
                "add {b}, 128",
                "dec {left}",
                "jnz 4b",
                "5:";
                a0 = inout(reg) a => _,
                a1 = inout(reg) pointer(3) => _,
                a2 = inout(reg) pointer(6) => _,
                a3 = inout(reg) pointer(9) => _,
                a4 = inout(reg) pointer(12) => _,
                stride = in(reg) 4 * stride,
                b = inout(reg) b => _,
                left = inout(reg) inner => _,
            );
        }
    } else {
        // SAFETY: as above.
        unsafe {
            with_sums!(sums, R, V,
                ".p2align 5",
                "2:",
                step_across_rows!(),
                "add {a}, {stride}",
                "add {b}, 128",
                "dec {left}",
                "jnz 2b";
                a = inout(reg) a => _,
                stride = in(reg) 4 * stride,
                b = inout(reg) b => _,
                left = inout(reg) inner => _,
            );
        }
    }
}

/// For each register, a mask of the tile's columns.
fn masks<const V: usize>(columns: usize) -> [__mmask16; V] {
    std::array::from_fn(|v| match columns.saturating_sub(v * LANES) {
        LANES.. => !0,
        some => (1 << some) - 1,
    })
}

/// # Safety
/// As [`run`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn start<const R: usize, const V: usize>(tile: &Tile<'_>, c: *const f32) -> Accumulators {
    let masks = masks::<V>(tile.columns);
    // SAFETY: the masks select the tile's elements of C, or of the bias; the rest is not read.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for (r, sums) in sums[..R].iter_mut().enumerate() {
            for (v, &mask) in masks.iter().enumerate() {
                let from = match tile.start {
                    Start::Zero => break,
                    Start::Sum => c.add(r * tile.c_row),
                    Start::Bias(bias) => bias.as_ptr(),
                };
                sums[v] = _mm512_maskz_loadu_ps(mask, from.wrapping_add(v * LANES));
            }
        }
        sums
    }
}

/// # Safety
/// As [`run`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn finish<const R: usize, const V: usize>(
    tile: &Tile<'_>,
    c: *mut f32,
    sums: &Accumulators,
) {
    let masks = masks::<V>(tile.columns);
    // SAFETY: the masks select the tile's elements.
    unsafe {
        // The result is the second operand where that is NaN.
        let least = _mm512_set1_ps(if tile.relu { 0.0 } else { f32::NEG_INFINITY });
        // Of a denormal value, whose exponent bits are zero, only the sign is kept.
        let (exponent, sign) = (_mm512_set1_epi32(0x7F80_0000), _mm512_set1_epi32(i32::MIN));
        let all = if tile.last { !0 } else { 0 };
        for (r, sums) in sums[..R].iter().enumerate() {
            let c = c.add(r * tile.c_row);
            for (v, &mask) in masks.iter().enumerate() {
                let bits = _mm512_castps_si512(_mm512_max_ps(least, sums[v]));
                let denormal = _mm512_mask_testn_epi32_mask(all, bits, exponent);
                let value = _mm512_castsi512_ps(_mm512_mask_and_epi32(bits, denormal, bits, sign));
                _mm512_mask_storeu_ps(c.wrapping_add(v * LANES), mask, value);
            }
        }
    }
}
