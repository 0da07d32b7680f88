//! Products in bf16: tiles that AMX multiplies, and their twin in plain Rust.
//!
//! ```text
//! C[m][n] += sum over k of A[m][k] B[k][n]        A, B in bf16, C in f32
//! ```
//!
//! A block of C is 2 x 2 tiles of 16 x 16, in four of the eight tile registers while the sum runs
//! over all of k; the other four hold two tiles of A and two of B. A tile of A is 16 rows of 32 k,
//! wherever rows at a regular distance lie: so a convolution reads its image directly, as in f32.
//! A tile of B is 16 pairs of k by 16 columns, a pair's two numbers next to each other.
//! [`pack`](mod@pack) rounds f32 on the way into either.
//!
//! The floor: a step of 32 k is four products of 16 cycles and four loads of 1 KiB, and the
//! processor reads that much from its second-level cache meanwhile: 8192 multiply-adds in 64
//! cycles, sixteen times AVX-512's in f32. `cargo xtask bench --peaks` measures it.
//!
//! An instruction adds up products of the even and of the odd k of its 32 by themselves, from zero,
//! in order, then both, and that to C; each of these rounds. Numbers below the smallest normal one
//! are zero, as operands and as results. So each element of C is one chain in the order of k, and
//! its bits depend on where a run of k begins and ends, which shapes alone decide, but not on where
//! C is stored in between. Tiles are always whole: rows and columns beyond C's edge are computed
//! and dropped, and where k ends inside a tile, B has zeros; an infinity or NaN that A then has
//! beyond the end makes a NaN.

#[cfg(target_arch = "x86_64")]
mod hardware;
pub(crate) mod pack;
mod twin;

#[cfg(test)]
mod tests;

use super::Loop;
use std::cell::Cell;

/// A number's bits.
pub(crate) type Bf16 = u16;

/// The side of a tile, in rows, columns or pairs of k.
pub(crate) const TILE: usize = 16;
/// k of a tile.
pub(crate) const DEPTH: usize = 2 * TILE;
/// The side of a block of C.
pub(crate) const SIDE: usize = 2 * TILE;
/// Numbers of a packed tile of A or B: 16 rows of A, or pairs of k of B, one after another.
pub(crate) const PACKED: usize = TILE * DEPTH;

/// A block of C, row by row.
pub(crate) type Sums = [f32; SIDE * SIDE];

/// Floats as room for twice as many numbers.
pub(crate) fn numbers(floats: &mut [f32]) -> &mut [Bf16] {
    // SAFETY: the same bytes; either type takes any bits, and the floats' alignment is enough.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), 2 * floats.len()) }
}

/// Who multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// Plain Rust: the same bits, slowly.
    Twin,
}

impl Engine {
    /// The best that there is here.
    pub fn best() -> Engine {
        #[cfg(target_arch = "x86_64")]
        if tensor::amx().is_ok() {
            return Engine::Amx;
        }
        Engine::Twin
    }

    /// Makes the calling thread ready to multiply, until it drops what this gives back.
    ///
    /// # Panics
    /// If the thread is ready already: the first of two to be dropped would take the tiles away
    /// from the other.
    pub fn ready(self) -> Ready {
        assert!(!READY.get(), "a thread is made ready once at a time");
        #[cfg(target_arch = "x86_64")]
        if self == Engine::Amx {
            assert!(tensor::amx().is_ok(), "AMX where there is none");
            // SAFETY: the processor has AMX and the system lets us use it.
            unsafe { hardware::configure() };
        }
        READY.set(true);
        Ready { engine: self, this_thread: std::marker::PhantomData }
    }
}

thread_local! {
    /// Whether this thread has a [`Ready`].
    static READY: Cell<bool> = const { Cell::new(false) };
}

/// A thread that may multiply: with AMX, its tile registers are laid out. A thread has one at a
/// time, and it cannot be sent to another.
pub(crate) struct Ready {
    engine: Engine,
    this_thread: std::marker::PhantomData<*const ()>,
}

impl Drop for Ready {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.engine == Engine::Amx {
            // SAFETY: as in `ready`. Without this every switch of threads would save the tiles.
            unsafe { hardware::release() };
        }
        READY.set(false);
    }
}

/// What a block's sums begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Zero,
    /// What they are: the sum goes on.
    Sum,
    /// One number for each column.
    Row(&'a [f32; SIDE]),
}

/// Where one or two tiles of an operand begin, and how far their rows, or pairs of k, lie apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles<'a> {
    pub numbers: &'a [Bf16],
    pub first: usize,
    pub second: Option<usize>,
    pub row: usize,
}

/// The operands of a block of C; k is three nested loops over tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub a: Tiles<'a>,
    pub b: Tiles<'a>,
    /// From the outermost to the innermost, which moves by a tile of k.
    pub loops: [Loop; 3],
    pub start: Start<'a>,
}

impl Block<'_> {
    /// Holds every read to the slices of A and B.
    fn check(&self) {
        for (name, tiles, step) in
            [("A", &self.a, (|l| l.a) as fn(&Loop) -> usize), ("B", &self.b, |l| l.b)]
        {
            let last: usize = self.loops.iter().map(|l| (l.count.max(1) - 1) * step(l)).sum();
            let first = tiles.first.max(tiles.second.unwrap_or(0));
            let end = first + last + (TILE - 1) * tiles.row + DEPTH;
            let len = tiles.numbers.len();
            assert!(end <= len, "reads {end} numbers of {name}, which has {len}");
        }
    }
}

impl Ready {
    /// Computes a block of C: where an operand has one tile alone, that half of it.
    ///
    /// # Panics
    /// If A or B would be read outside their slices.
    pub fn multiply(&self, block: &Block<'_>, sums: &mut Sums) {
        if block.loops.iter().any(|l| l.count == 0) {
            return begin(block.start, sums);
        }
        block.check();
        match self.engine {
            // SAFETY: `check` has held all reads to A and B; the thread has been made ready.
            #[cfg(target_arch = "x86_64")]
            Engine::Amx => unsafe { hardware::multiply(block, sums) },
            Engine::Twin => twin::multiply(block, sums),
        }
    }
}

/// The sums before the first product.
fn begin(start: Start<'_>, sums: &mut Sums) {
    match start {
        Start::Zero => sums.fill(0.0),
        Start::Sum => {}
        Start::Row(row) => sums.as_chunks_mut().0.fill(*row),
    }
}
