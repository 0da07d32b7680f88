//! AMX instructions, in assembler, as the compiler has no intrinsics for tiles yet.
//!
//! Lower bound: see [`amx`](super).

use super::{Bf16, Block, BlockSums, SIDE, Start, TILE, Tiles};
use crate::gemm::Loop;
use std::arch::asm;

/// The operand of `ldtilecfg`: palette 1, then bytes per row and rows of each tile.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight tiles have 16 rows of 64 bytes.
static CONFIGURATION: Configuration = {
    let (mut row_bytes, mut rows, mut tile) = ([0; 16], [0; 16], 0);
    while tile < 8 {
        (row_bytes[tile], rows[tile]) = (64, TILE as u8);
        tile += 1;
    }
    Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// # Safety
/// The processor has AMX, and the system lets this process use it.
pub(super) unsafe fn configure() {
    // SAFETY: it reads the 64 bytes of the configuration; the caller guarantees AMX.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(readonly, nostack));
    }
}

/// # Safety
/// As [`configure`].
pub(super) unsafe fn release() {
    // SAFETY: it accesses no memory; the caller guarantees AMX.
    unsafe { asm!("tilerelease", options(nomem, nostack)) }
}

/// Loop counts and pointer steps in bytes, which the assembler reads from memory.
#[repr(C)]
struct Steps {
    /// From the innermost loop to the outermost: the count, then the steps of A and B to the next
    /// iteration, minus the distance that the inner loop has moved.
    loops: [[i64; 3]; 3],
}

impl Steps {
    /// `swapped`: B's steps come first.
    fn new([outer, middle, inner]: [Loop; 3], swapped: bool) -> Steps {
        let bytes = |moved: usize| 2 * moved as i64;
        let step = |l: Loop, inside: Option<Loop>| {
            let [a, b] = inside.map_or([0, 0], |i| [i.count * i.a, i.count * i.b]);
            let [a, b] = [bytes(l.a) - bytes(a), bytes(l.b) - bytes(b)];
            let [first, second] = if swapped { [b, a] } else { [a, b] };
            [l.count as i64, first, second]
        };
        Steps { loops: [step(inner, None), step(middle, Some(inner)), step(outer, Some(middle))] }
    }
}

/// Computes two tiles of the block at a time, a column or a row of it.
///
/// A processor renames tile registers, so that loads overlap with products, but if its other
/// hyperthread is busy it has hardly more registers than the eight that a program can name. Then
/// loads and products of 2 x 2 tiles, which use all eight, run one after the other, four to five
/// times as slowly as alone; those of two tiles, in four registers, take half of that time. Alone,
/// both take the same time, although one operand's tiles are loaded twice: B's, if they stay in the
/// L1 cache, else A's. (Measured on Sapphire Rapids, ns for a product: 30 and 14 beside a busy
/// hyperthread, 6.9 alone.)
///
/// With `STREAMED`, A's tiles are fetched ahead of their use.
///
/// # Safety
/// [`Block::check`] has passed, no loop is empty, and the thread's tiles are configured.
pub(super) unsafe fn multiply<const STREAMED: bool>(block: &Block<'_>, sums: &mut BlockSums) {
    let Block { a, b, loops, start } = *block;
    let depth: usize = loops.iter().map(|l| l.count).product();
    let pairs_of_b = b.second.is_some() && (a.second.is_none() || depth <= DEPTH_OF_B);
    let (pair, single) = if pairs_of_b { (&b, &a) } else { (&a, &b) };
    for (idx, first) in [Some(single.first), single.second].into_iter().flatten().enumerate() {
        let (row, column) = if pairs_of_b { (TILE * idx, 0) } else { (0, TILE * idx) };
        let sums = &mut sums[row * SIDE + column..];
        // A row distance of zero reads the same row sixteen times.
        let (start, start_row) = match start {
            Start::Zero => (ZEROS.as_ptr(), 0),
            Start::Row(row) => (row[column..].as_ptr(), 0),
            Start::Sum => (sums.as_ptr(), SUMS_ROW),
        };
        let at = |tiles: &Tiles<'_>, first: usize| tiles.elements[first..].as_ptr();
        let operands = Operands {
            pair: [pair.first, pair.second.unwrap_or(pair.first)].map(|first| at(pair, first)),
            single: at(single, first),
            rows: [pair, single].map(|tiles| size_of::<Bf16>() * tiles.row),
            steps: Steps::new(loops, pairs_of_b),
            start,
            start_row,
            sums: sums.as_mut_ptr(),
        };
        // SAFETY: as the caller guarantees.
        unsafe {
            match (pair.second.is_some(), pairs_of_b) {
                (true, true) => run::<STREAMED, 2, 1>(&operands),
                (true, false) => run::<STREAMED, 2, 0>(&operands),
                (false, _) => run::<STREAMED, 1, 0>(&operands),
            }
        }
    }
}

/// Tiles along k of which two panels of B fit the L1 cache beside A.
const DEPTH_OF_B: usize = 16;
/// Bytes between a streamed tile and what is fetched meanwhile, into the L2 cache: four pages' lines
/// are on their way. Two cores then read 41 GB/s, which was 19 without.
const FETCHED_AHEAD: usize = 8192;
/// Bytes of a row of [`BlockSums`].
const SUMS_ROW: usize = size_of::<f32>() * SIDE;

static ZEROS: [f32; SIDE] = [0.0; SIDE];

/// Two tiles of one operand, or a single one, with one of the other.
struct Operands {
    pair: [*const Bf16; 2],
    single: *const Bf16,
    /// Bytes from one row to the next, of the pair and of the single tile.
    rows: [usize; 2],
    /// Of the pair and of the single tile.
    steps: Steps,
    start: *const f32,
    start_row: usize,
    sums: *mut f32,
}

/// `N` tiles of C, in tile registers 0 and 1: one below the other or, if `ACROSS` is 1, side by
/// side.
///
/// # Safety
/// As [`multiply`]; the pointers are those of its operands.
unsafe fn run<const STREAMED: bool, const N: usize, const ACROSS: usize>(operands: &Operands) {
    let &Operands { pair: [p0, p1], single, rows: [p_row, s_row], start, start_row, sums, .. } =
        operands;
    // SAFETY: the start is a row or a block of C, and the sums are a block: tiles have 16 rows of
    // 64 bytes, 128 bytes apart. All reads of A and B were checked. No other register or memory is
    // changed; the compiler keeps nothing in tile registers. A prefetch may have any address.
    unsafe {
        asm!(
            ".macro fetch_tile from",
            ".irp line, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "prefetcht1 [\\from + {ahead} + 64 * \\line]",
            ".endr",
            ".endm",
            "tileloadd tmm0, [{start} + {stride}]",
            ".if {n} > 1",
            ".if {across} == 0",
            "shl {stride}, 4",
            "add {start}, {stride}",
            "shr {stride}, 4",
            "tileloadd tmm1, [{start} + {stride}]",
            ".else",
            "tileloadd tmm1, [{start} + {stride} + 64]",
            ".endif",
            ".endif",
            "mov {outer}, [{steps} + 48]",
            "2:",
            "mov {middle}, [{steps} + 24]",
            "3:",
            "mov {inner}, [{steps}]",
            "4:",
            ".if {streamed} && {across}",
            "fetch_tile {single}",
            ".elseif {streamed}",
            "fetch_tile {p0}",
            ".if {n} > 1",
            "fetch_tile {p1}",
            ".endif",
            ".endif",
            "tileloadd tmm3, [{single} + {s_row}]",
            "tileloadd tmm2, [{p0} + {p_row}]",
            ".if {across} == 0",
            "tdpbf16ps tmm0, tmm2, tmm3",
            ".else",
            "tdpbf16ps tmm0, tmm3, tmm2",
            ".endif",
            ".if {n} > 1",
            "tileloadd tmm2, [{p1} + {p_row}]",
            ".if {across} == 0",
            "tdpbf16ps tmm1, tmm2, tmm3",
            ".else",
            "tdpbf16ps tmm1, tmm3, tmm2",
            ".endif",
            ".endif",
            "mov {stride}, [{steps} + 8]",
            "add {p0}, {stride}",
            "add {p1}, {stride}",
            "add {single}, [{steps} + 16]",
            "dec {inner}",
            "jnz 4b",
            "mov {stride}, [{steps} + 32]",
            "add {p0}, {stride}",
            "add {p1}, {stride}",
            "add {single}, [{steps} + 40]",
            "dec {middle}",
            "jnz 3b",
            "mov {stride}, [{steps} + 56]",
            "add {p0}, {stride}",
            "add {p1}, {stride}",
            "add {single}, [{steps} + 64]",
            "dec {outer}",
            "jnz 2b",
            "mov {stride:e}, 128",
            "tilestored [{sums} + {stride}], tmm0",
            ".if {n} > 1",
            ".if {across} == 0",
            "tilestored [{sums} + {stride} + 2048], tmm1",
            ".else",
            "tilestored [{sums} + {stride} + 64], tmm1",
            ".endif",
            ".endif",
            ".purgem fetch_tile",
            streamed = const STREAMED as usize,
            ahead = const FETCHED_AHEAD,
            n = const N,
            across = const ACROSS,
            start = inout(reg) start => _,
            stride = inout(reg) start_row => _,
            steps = in(reg) &raw const operands.steps,
            p0 = inout(reg) p0 => _,
            p1 = inout(reg) p1 => _,
            single = inout(reg) single => _,
            p_row = in(reg) p_row,
            s_row = in(reg) s_row,
            outer = out(reg) _,
            middle = out(reg) _,
            inner = out(reg) _,
            sums = in(reg) sums,
            options(nostack),
        );
    }
}
