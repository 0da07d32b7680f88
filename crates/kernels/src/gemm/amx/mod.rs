//! Products in bf16: tiles multiplied by AMX, or by a bit-identical twin in plain Rust.
//!
//! ```text
//! C[m][n] += sum over k of A[m][k] B[k][n]        A, B in bf16, C in f32
//! ```
//!
//! A block of C has 2 x 2 tiles of 16 x 16, which stay in four of the eight tile registers while
//! the sum runs over all of k; three others hold tiles of A and B. A tile of A is 16 rows of 32 k
//! at any regular distance: so a convolution reads its image directly, as in f32. A tile of B is 16
//! pairs of k by 16 columns, with the two elements of a pair adjacent. [`pack`](mod@pack) rounds f32
//! operands to bf16 and packs them.
//!
//! Lower bound: a step of 32 k takes four products of 16 cycles and four loads of 1 KiB, which the
//! processor reads from its L2 cache in the same time: 8192 multiply-adds in 64 cycles, sixteen
//! times AVX-512's rate in f32. `cargo xtask bench --peaks` measures it.
//!
//! An instruction sums the products of the even and of the odd k of its 32 separately, from zero,
//! in order, then adds both sums, and the result to C; each of these steps rounds. Denormal
//! operands and results are flushed to zero. So each element of C is one chain in the order of k.
//! It depends on where a range of k starts and ends, which only the shapes decide, but not on where
//! C is stored in between. Tiles are always whole: rows and columns beyond C's edge are computed
//! and dropped. Where k ends inside a tile, B is padded with zeros; an infinity or NaN that A has
//! beyond the end gives a NaN.

#[cfg(target_arch = "x86_64")]
mod hardware;
pub(crate) mod pack;
mod twin;

#[cfg(test)]
mod tests;

use super::Loop;
use std::cell::Cell;

pub(crate) use tensor::Bf16;

/// The side of a tile, in rows, columns or pairs of k.
pub(crate) const TILE: usize = 16;
/// k of a tile.
pub(crate) const DEPTH: usize = 2 * TILE;
/// The side of a block of C.
pub(crate) const SIDE: usize = 2 * TILE;
/// Elements of a packed tile of A or B: 16 rows of A, or pairs of k of B, in order.
pub(crate) const PACKED: usize = TILE * DEPTH;

/// A block of C, row by row.
pub(crate) type BlockSums = [f32; SIDE * SIDE];

/// Floats as memory for twice as many bf16 values.
pub(crate) fn as_bf16_mut(floats: &mut [f32]) -> &mut [Bf16] {
    // SAFETY: the same bytes; both types allow any bits, and the floats' alignment suffices.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), 2 * floats.len()) }
}

/// The bf16 values that [`as_bf16_mut`] has written.
pub(crate) fn as_bf16(floats: &[f32]) -> &[Bf16] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), 2 * floats.len()) }
}

/// What multiplies tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixUnit {
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// Plain Rust: bit-identical, but slow.
    Twin,
}

impl MatrixUnit {
    /// AMX if available, else the twin.
    pub fn best() -> MatrixUnit {
        #[cfg(target_arch = "x86_64")]
        if tensor::amx().is_ok() {
            return MatrixUnit::Amx;
        }
        MatrixUnit::Twin
    }

    /// Configures the calling thread's tile registers until the result is dropped.
    ///
    /// # Panics
    /// If the thread is configured already: dropping the first result would release the tiles of
    /// the second.
    pub fn configure(self) -> Configured {
        assert!(!CONFIGURED.get(), "a thread is configured once at a time");
        #[cfg(target_arch = "x86_64")]
        if self == MatrixUnit::Amx {
            assert!(tensor::amx().is_ok(), "AMX is not available");
            // SAFETY: the processor has AMX and the system lets us use it.
            unsafe { hardware::configure() };
        }
        CONFIGURED.set(true);
        Configured { unit: self, this_thread: std::marker::PhantomData }
    }
}

thread_local! {
    /// Whether this thread has a [`Configured`].
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// A thread that may multiply: with AMX, its tile registers are configured. A thread has one such
/// value at a time, which cannot be sent to another thread.
pub(crate) struct Configured {
    unit: MatrixUnit,
    this_thread: std::marker::PhantomData<*const ()>,
}

impl Drop for Configured {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.unit == MatrixUnit::Amx {
            // SAFETY: as in `configure`. Without this, every context switch would save the tiles.
            unsafe { hardware::release() };
        }
        CONFIGURED.set(false);
    }
}

/// The initial value of a block's sums.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Zero,
    /// Their current value: continues the sum.
    Sum,
    /// One value per column.
    Row(&'a [f32; SIDE]),
}

/// The offsets of one or two tiles of an operand, and the distance of their rows, or pairs of k.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles<'a> {
    pub elements: &'a [Bf16],
    pub first: usize,
    pub second: Option<usize>,
    pub row: usize,
}

/// The operands of a block of C; k is three nested loops over tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub a: Tiles<'a>,
    pub b: Tiles<'a>,
    /// From the outermost to the innermost, which moves by one tile along k.
    pub loops: [Loop; 3],
    pub start: Start<'a>,
}

impl Block<'_> {
    /// Checks that all reads are inside the slices of A and B.
    fn check(&self) {
        for (name, tiles, step) in
            [("A", &self.a, (|l| l.a) as fn(&Loop) -> usize), ("B", &self.b, |l| l.b)]
        {
            let last: usize = self.loops.iter().map(|l| (l.count.max(1) - 1) * step(l)).sum();
            let first = tiles.first.max(tiles.second.unwrap_or(0));
            let end = first + last + (TILE - 1) * tiles.row + DEPTH;
            let len = tiles.elements.len();
            assert!(end <= len, "reads {end} elements of {name}, which has {len}");
        }
    }
}

impl Configured {
    /// Computes a block of C; only half of it where an operand has a single tile.
    ///
    /// # Panics
    /// If A or B would be read outside their slices.
    pub fn multiply(&self, block: &Block<'_>, sums: &mut BlockSums) {
        self.multiply_by::<false>(block, sums);
    }

    /// [`multiply`](Self::multiply) where A lies in memory in the order of its use, tile after tile.
    /// It is fetched ahead, beyond the block: several blocks are one stream.
    ///
    /// # Panics
    /// As `multiply`.
    pub fn multiply_stream(&self, block: &Block<'_>, sums: &mut BlockSums) {
        self.multiply_by::<true>(block, sums);
    }

    fn multiply_by<const STREAMED: bool>(&self, block: &Block<'_>, sums: &mut BlockSums) {
        if block.loops.iter().any(|l| l.count == 0) {
            return begin(block.start, sums);
        }
        block.check();
        match self.unit {
            // SAFETY: `check` has passed, and the thread is configured.
            #[cfg(target_arch = "x86_64")]
            MatrixUnit::Amx => unsafe { hardware::multiply::<STREAMED>(block, sums) },
            MatrixUnit::Twin => twin::multiply(block, sums),
        }
    }
}

/// The sums before the first product.
fn begin(start: Start<'_>, sums: &mut BlockSums) {
    match start {
        Start::Zero => sums.fill(0.0),
        Start::Sum => {}
        Start::Row(row) => sums.as_chunks_mut().0.fill(*row),
    }
}
