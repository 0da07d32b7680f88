//! AMX instructions, in assembler, as the compiler has no intrinsics for tiles yet.
//!
//! Lower bound: see [`amx`](super).

use super::{Block, BlockSums, Start, TILE};
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
    fn new([outer, middle, inner]: [Loop; 3]) -> Steps {
        let bytes = |moved: usize| 2 * moved as i64;
        let step = |l: Loop, inside: Option<Loop>| {
            let [a, b] = inside.map_or([0, 0], |i| [i.count * i.a, i.count * i.b]);
            [l.count as i64, bytes(l.a) - bytes(a), bytes(l.b) - bytes(b)]
        };
        Steps { loops: [step(inner, None), step(middle, Some(inner)), step(outer, Some(middle))] }
    }
}

/// Multiplies a block; with `STREAMED`, A's tiles are fetched ahead of their use.
///
/// # Safety
/// [`Block::check`] has passed, no loop is empty, and the thread's tiles are configured.
pub(super) unsafe fn multiply<const STREAMED: bool>(block: &Block<'_>, sums: &mut BlockSums) {
    // SAFETY: as the caller guarantees.
    unsafe {
        match (block.a.second.is_some(), block.b.second.is_some()) {
            (true, true) => run::<STREAMED, 2, 2>(block, sums),
            (true, false) => run::<STREAMED, 2, 1>(block, sums),
            (false, true) => run::<STREAMED, 1, 2>(block, sums),
            (false, false) => run::<STREAMED, 1, 1>(block, sums),
        }
    }
}

/// Bytes between a streamed tile and what is fetched meanwhile, into the L2 cache. Two cores then
/// read 41 GB/s, which was 19 without.
const FETCHED_AHEAD: usize = 8192;

/// `M` tiles down and `N` across, in tile registers 0 to 3. Both tiles of A take register 4.
///
/// The fewer registers, the better: a processor renames them, so that loads overlap with products,
/// but if its other hyperthread is busy it has hardly more than the eight that a program can name.
/// Then loads and products wait for each other. (Measured on Sapphire Rapids, ns for a product of 2
/// x 2 tiles: alone 7, beside a busy hyperthread 30 with eight registers, 22 with these seven, 14
/// with the four of 2 x 1 tiles, which alone are slower where operands come from the L2 cache.)
///
/// # Safety
/// As [`multiply`].
unsafe fn run<const STREAMED: bool, const M: usize, const N: usize>(
    block: &Block<'_>,
    sums: &mut BlockSums,
) {
    static ZEROS: [f32; 32] = [0.0; 32];
    // A row distance of zero reads the same row sixteen times.
    let (start, start_row) = match block.start {
        Start::Zero => (ZEROS.as_ptr(), 0),
        Start::Row(row) => (row.as_ptr(), 0),
        Start::Sum => (sums.as_ptr(), 128usize),
    };
    let steps = Steps::new(block.loops);
    let at = |tiles: &super::Tiles<'_>, first: usize| tiles.elements[first..].as_ptr();
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
            "tileloadd tmm1, [{start} + {stride} + 64]",
            ".endif",
            ".if {m} > 1",
            "shl {stride}, 4",
            "add {start}, {stride}",
            "shr {stride}, 4",
            "tileloadd tmm2, [{start} + {stride}]",
            ".if {n} > 1",
            "tileloadd tmm3, [{start} + {stride} + 64]",
            ".endif",
            ".endif",
            "mov {outer}, [{steps} + 48]",
            "2:",
            "mov {middle}, [{steps} + 24]",
            "3:",
            "mov {inner}, [{steps}]",
            "4:",
            ".if {streamed}",
            "fetch_tile {a0}",
            ".if {m} > 1",
            "fetch_tile {a1}",
            ".endif",
            ".endif",
            "tileloadd tmm5, [{b0} + {b_row}]",
            "tileloadd tmm4, [{a0} + {a_row}]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            ".if {n} > 1",
            "tileloadd tmm6, [{b1} + {b_row}]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            ".endif",
            ".if {m} > 1",
            "tileloadd tmm4, [{a1} + {a_row}]",
            "tdpbf16ps tmm2, tmm4, tmm5",
            ".if {n} > 1",
            "tdpbf16ps tmm3, tmm4, tmm6",
            ".endif",
            ".endif",
            "mov {stride}, [{steps} + 8]",
            "add {a0}, {stride}",
            "add {a1}, {stride}",
            "mov {stride}, [{steps} + 16]",
            "add {b0}, {stride}",
            "add {b1}, {stride}",
            "dec {inner}",
            "jnz 4b",
            "mov {stride}, [{steps} + 32]",
            "add {a0}, {stride}",
            "add {a1}, {stride}",
            "mov {stride}, [{steps} + 40]",
            "add {b0}, {stride}",
            "add {b1}, {stride}",
            "dec {middle}",
            "jnz 3b",
            "mov {stride}, [{steps} + 56]",
            "add {a0}, {stride}",
            "add {a1}, {stride}",
            "mov {stride}, [{steps} + 64]",
            "add {b0}, {stride}",
            "add {b1}, {stride}",
            "dec {outer}",
            "jnz 2b",
            "mov {stride:e}, 128",
            "tilestored [{sums} + {stride}], tmm0",
            ".if {n} > 1",
            "tilestored [{sums} + {stride} + 64], tmm1",
            ".endif",
            ".if {m} > 1",
            "tilestored [{sums} + {stride} + 2048], tmm2",
            ".if {n} > 1",
            "tilestored [{sums} + {stride} + 2112], tmm3",
            ".endif",
            ".endif",
            ".purgem fetch_tile",
            streamed = const STREAMED as usize,
            ahead = const FETCHED_AHEAD,
            m = const M,
            n = const N,
            start = inout(reg) start => _,
            stride = inout(reg) start_row => _,
            steps = in(reg) &raw const steps,
            a0 = inout(reg) at(&block.a, block.a.first) => _,
            a1 = inout(reg) at(&block.a, block.a.second.unwrap_or(block.a.first)) => _,
            b0 = inout(reg) at(&block.b, block.b.first) => _,
            b1 = inout(reg) at(&block.b, block.b.second.unwrap_or(block.b.first)) => _,
            a_row = in(reg) 2 * block.a.row,
            b_row = in(reg) 2 * block.b.row,
            outer = out(reg) _,
            middle = out(reg) _,
            inner = out(reg) _,
            sums = in(reg) sums.as_mut_ptr(),
            options(nostack),
        );
    }
}
