//! The register tile that convolution and linear layers stand on.
//!
//! ```text
//! C[r][n] += sum over k of A[r][k] B[k][n]
//! ```
//!
//! A tile is a piece of C, 14 rows x 32 columns with AVX-512, kept in registers while the sum runs
//! over all of k. B is packed: 32 floats for each k, one after another. A is read where it lies,
//! one float at a time, broadcast: so a convolution reads its image directly and never unfolds it.
//! k is three nested loops, because a window's taps, or the pixels of a batch, are runs at regular
//! distances.
//!
//! The floor: 14 x 32 is 28 AVX-512 sums, two registers of B and one of A, 31 of 32. A step of k
//! takes 28 fused multiply-adds and 16 loads, and the processor issues as many loads as
//! multiply-adds: the tile runs at the multiply-adds' peak as long as B comes from the second-level
//! cache or nearer. `cargo xtask bench --peaks` measures how near it comes.
//!
//! Each element of C is one chain of fused multiply-adds in the order of k. Its bits depend neither
//! on the tile's shape, nor on where k is cut and C stored in between, nor on threads, nor on the
//! instruction set.

pub(crate) mod amx;
pub(crate) mod cuda;
mod pack;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;
mod tile_portable;
pub mod walk;

#[cfg(test)]
mod tests;

pub(crate) use pack::{Shared, copy_rows, copy_strip, transpose_panel, untranspose_panel};

use std::sync::OnceLock;
#[cfg(target_arch = "x86_64")]
use tensor::Vectors;

/// The instruction sets that have a tile of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// 14 rows x 32 columns.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 6 rows x 16 columns.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 6 rows x 16 columns in plain Rust: vectorised where fused multiply-add is part of the base
    /// instruction set (ARM), slow elsewhere.
    Portable,
}

impl Isa {
    /// The best that this processor has, and a test allows.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Isa::available()[0])
    }

    /// All that this processor has and a test allows, the best first.
    pub fn available() -> Vec<Isa> {
        let mut isas = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let may_use = |vectors: Vectors| vectors <= Vectors::limit() && vectors.are_here();
            if may_use(Vectors::Avx512) {
                isas.push(Isa::Avx512);
            }
            if may_use(Vectors::Avx2) {
                isas.push(Isa::Avx2);
            }
        }
        isas.push(Isa::Portable);
        isas
    }

    /// The most rows of a tile.
    pub fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 14,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 6,
            Isa::Portable => 6,
        }
    }

    /// The most columns of a tile: the width of a panel of packed B.
    pub fn columns(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 32,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 16,
            Isa::Portable => 16,
        }
    }

    /// The fewest tiles that cover `rows`, and the rows of the largest: they divide the rows
    /// evenly.
    pub fn cut(self, rows: usize) -> Cut {
        Cut { total: rows, parts: rows.div_ceil(self.rows()).max(1) }
    }

    /// Computes one tile.
    ///
    /// # Panics
    /// If A or B would be read outside their slices, or C be written outside the matrix.
    ///
    /// # Safety
    /// While it runs nobody else reads or writes the tile's elements of `c`.
    pub unsafe fn tile(self, tile: &Tile<'_>, c: &Shared<'_>) {
        tile.check(self);
        let end = tile.c + (tile.rows - 1) * tile.c_row + tile.columns;
        assert!(end <= c.len(), "a tile that ends at {end} in a matrix of {}", c.len());
        let c = c.at(tile.c);
        // SAFETY: `check` has held all reads to the slices of A and B, and the writes were held to
        // C above; the caller keeps others away from the tile; an `Isa` other than portable is only
        // made by `available`, after it has been detected.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => tile_avx512::run(tile, c),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => tile_avx2::run(tile, c),
                Isa::Portable => tile_portable::run(tile, c),
            }
        }
    }
}

/// Rows cut into tiles of nearly equal height.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub total: usize,
    pub parts: usize,
}

impl Cut {
    /// The first row of part `idx`, and how many it has.
    pub fn part(&self, idx: usize) -> (usize, usize) {
        let (small, larger) = (self.total / self.parts, self.total % self.parts);
        (idx * small + idx.min(larger), small + usize::from(idx < larger))
    }

    /// All parts: first row and number of rows.
    pub fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.parts).map(move |idx| self.part(idx))
    }
}

/// Block `idx` of those of `size` that cover `total`: its start and its length.
pub(crate) fn block(total: usize, size: usize, idx: usize) -> (usize, usize) {
    (idx * size, size.min(total - idx * size))
}

/// One of the nested loops over k: how often, and how far A and B move each time, in floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop {
    pub count: usize,
    pub a: usize,
    pub b: usize,
}

impl Loop {
    pub const ONCE: Loop = Loop { count: 1, a: 0, b: 0 };
}

/// How neighbours in A lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Successive k of the innermost loop lie next to each other; rows lie this far apart.
    Rows(usize),
    /// Rows lie next to each other; successive k of the innermost loop lie this far apart.
    Columns(usize),
}

/// What a tile's sums begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Zero,
    /// What C holds: the sum goes on.
    Sum,
    /// One float for each column.
    Bias(&'a [f32]),
}

/// A tile's operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub columns: usize,
    /// Begins at the tile's first row and the first k.
    pub a: &'a [f32],
    pub layout: Layout,
    /// Begins at the first k; successive k of the innermost loop lie [`Isa::columns`] apart.
    pub b: &'a [f32],
    pub outer: Loop,
    pub middle: Loop,
    /// The length of the innermost loop.
    pub inner: usize,
    /// Where the tile begins in C.
    pub c: usize,
    /// From one row of C to the next.
    pub c_row: usize,
    pub start: Start<'a>,
    /// C is max(sum, 0).
    pub relu: bool,
    /// The sum ends here: what is denormal of C is flushed. A sum that goes on keeps it, so that
    /// bits do not depend on where k is cut.
    pub last: bool,
}

impl Tile<'_> {
    /// Holds every read to the slices of A and B, and the shape to what the instruction set has.
    fn check(&self, isa: Isa) {
        let shape =
            (1..=isa.rows()).contains(&self.rows) && (1..=isa.columns()).contains(&self.columns);
        assert!(shape, "a tile of {} x {}", self.rows, self.columns);
        if let Start::Bias(bias) = self.start {
            assert!(bias.len() >= self.columns, "a bias of {} floats", bias.len());
        }
        if self.outer.count == 0 || self.middle.count == 0 || self.inner == 0 {
            return;
        }
        let (outer, middle, inner) = (self.outer.count - 1, self.middle.count - 1, self.inner - 1);
        let (row, k) = match self.layout {
            Layout::Rows(row) => (row, 1),
            Layout::Columns(k) => (1, k),
        };
        let a =
            outer * self.outer.a + middle * self.middle.a + inner * k + (self.rows - 1) * row + 1;
        let b = outer * self.outer.b + middle * self.middle.b + (inner + 1) * isa.columns();
        assert!(a <= self.a.len(), "reads {a} floats of A, which has {}", self.a.len());
        assert!(b <= self.b.len(), "reads {b} floats of B, which has {}", self.b.len());
    }
}
