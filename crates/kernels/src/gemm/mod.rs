//! The register tile of convolutions and linear layers.
//!
//! ```text
//! C[r][n] += sum over k of A[r][k] B[k][n]
//! ```
//!
//! A tile is a part of C, 14 rows x 32 columns with AVX-512, kept in registers while the sum runs
//! over all of k. B is packed: 32 floats for each k, in order. A is read in place, one float at a
//! time, broadcast: so a convolution reads its image directly, without im2col. k is three nested
//! loops, because the taps of a window, or the pixels of a batch, are ranges at regular distances.
//!
//! Lower bound: 14 x 32 sums take 28 of the 32 AVX-512 registers, B two and A one. A step of k
//! takes 28 fused multiply-adds and 16 loads, and the processor issues as many loads as
//! multiply-adds: the tile runs at the multiply-adds' peak if B is in the L2 cache or nearer.
//! `cargo xtask bench --peaks` measures how close it gets.
//!
//! Each element of C is one chain of fused multiply-adds in the order of k. So results are
//! bit-identical for any tile shape, any split of k with C stored in between, any number of threads
//! and any instruction set.

pub(crate) mod amx;
pub(crate) mod cuda;
mod pack;
pub mod peaks;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;
mod tile_portable;
pub mod walk;

#[cfg(test)]
mod tests;

pub(crate) use pack::{
    Shared, SharedFloats, copy_rows, copy_strip, transpose_panel, untranspose_panel,
};

use std::sync::OnceLock;
#[cfg(target_arch = "x86_64")]
use tensor::Vectors;

/// How a GPU cuts a product into blocks, for estimates of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuTiles {
    /// The kernel for this tile.
    pub kernel: &'static str,
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    /// Number of slices of the sums.
    pub slices: usize,
    /// Terms of a slice.
    pub slice: usize,
    /// Terms that are copied at once.
    pub panel: usize,
}

/// The tiles in bf16 of `count` products with these rows, columns and terms of a sum; `kernel` is
/// the one for f32 and large tiles, like `conv_forward`. `None` if there is no such kernel.
pub fn gpu_tiles(kernel: &str, sizes: [usize; 3], count: usize) -> Option<GpuTiles> {
    let kernels = cuda::all().into_iter().find(|kernels| kernels.f32[0].1 == kernel)?;
    Some(cuda::Tiling::of(sizes, count).run_by(kernels.bf16).tiles())
}

/// The instruction sets with a tile implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// 14 rows x 32 columns.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 6 rows x 16 columns.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 6 rows x 16 columns in plain Rust: vectorized where fused multiply-add is part of the base
    /// instruction set (ARM), slow elsewhere.
    Portable,
}

impl Isa {
    /// The best that this processor has and `ALEXNET_VECTORS` allows.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Isa::available()[0])
    }

    /// All that this processor has and `ALEXNET_VECTORS` allows, the best first.
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

    /// The most columns of a tile: the width of a packed panel of B.
    pub fn columns(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 32,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 16,
            Isa::Portable => 16,
        }
    }

    /// Splits `rows` evenly into the fewest tiles.
    pub fn split(self, rows: usize) -> EvenSplit {
        EvenSplit { total: rows, parts: rows.div_ceil(self.rows()).max(1) }
    }

    /// Computes one tile.
    ///
    /// # Panics
    /// If the tile exceeds the slices of A or B, or the matrix C.
    ///
    /// # Safety
    /// No other thread reads or writes the tile's elements of `c` at the same time.
    pub unsafe fn tile(self, tile: &Tile<'_>, c: &SharedFloats<'_>) {
        tile.check(self);
        let end = tile.c + (tile.rows - 1) * tile.c_row + tile.columns;
        assert!(end <= c.len(), "a tile that ends at {end} in a matrix of {}", c.len());
        let c = c.at(tile.c);
        // SAFETY: all reads are inside A and B, by `check`, and all writes inside C, by the
        // assertion; the caller keeps other threads away from the tile; an `Isa` other than
        // portable is only returned by `available`, which has detected it.
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

/// Rows split into parts of nearly equal size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EvenSplit {
    pub total: usize,
    pub parts: usize,
}

impl EvenSplit {
    /// The first row of part `idx`, and its number of rows.
    pub fn part(&self, idx: usize) -> (usize, usize) {
        let (small, larger) = (self.total / self.parts, self.total % self.parts);
        (idx * small + idx.min(larger), small + usize::from(idx < larger))
    }

    /// First row and number of rows of all parts.
    pub fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.parts).map(move |idx| self.part(idx))
    }
}

/// Block `idx` of the blocks of `size` that cover `total`: its start and length.
pub(crate) fn block(total: usize, size: usize, idx: usize) -> (usize, usize) {
    (idx * size, size.min(total - idx * size))
}

/// One of the nested loops over k: its count, and the steps of A and B in floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop {
    pub count: usize,
    pub a: usize,
    pub b: usize,
}

impl Loop {
    pub const ONCE: Loop = Loop { count: 1, a: 0, b: 0 };
}

/// How A is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Successive k of the innermost loop are adjacent; rows are this far apart.
    Rows(usize),
    /// Rows are adjacent; successive k of the innermost loop are this far apart.
    Columns(usize),
}

/// The initial value of a tile's sums.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Zero,
    /// The value in C: continues the sum.
    Sum,
    /// One value per column.
    Bias(&'a [f32]),
}

/// A tile's operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub columns: usize,
    /// Starts at the tile's first row and the first k.
    pub a: &'a [f32],
    pub layout: Layout,
    /// Starts at the first k; successive k of the innermost loop are [`Isa::columns`] apart.
    pub b: &'a [f32],
    pub outer: Loop,
    pub middle: Loop,
    /// The length of the innermost loop.
    pub inner: usize,
    /// The offset of the tile in C.
    pub c: usize,
    /// The distance of rows of C.
    pub c_row: usize,
    pub start: Start<'a>,
    /// C is max(sum, 0).
    pub relu: bool,
    /// The sum is complete: denormal elements of C are flushed. Partial sums are not, so that
    /// results do not depend on how k is split.
    pub last: bool,
}

impl Tile<'_> {
    /// Checks that all reads are inside A and B, and that the instruction set has the tile's shape.
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
