//! Tiles in isolation, for benchmarks of what bounds a product. No op uses this.

use super::amx::{self, MatrixUnit};
use super::{Isa, Layout, Loop, SharedFloats, Start, Tile};

/// A benchmark of the f32 tile: it moves down A, and at each position multiplies by all panels of
/// B.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The length of a tile's sums, at least 1.
    pub depth: usize,
    /// Panels of B.
    pub panels: usize,
    /// Floats from one row of A to the next; `None` if A is packed and its rows are adjacent.
    pub row: Option<usize>,
    /// Number of positions of the tile.
    pub places: usize,
}

impl Walk {
    /// Rows and columns of a tile with the best instruction set of this processor.
    pub fn tile() -> [usize; 2] {
        [Isa::best().rows(), Isa::best().columns()]
    }

    /// Floats from one position in A to the next.
    fn step(&self) -> usize {
        Isa::best().rows() * self.row.unwrap_or(self.depth)
    }

    /// Required floats of A, and of B.
    pub fn floats(&self) -> [usize; 2] {
        let last = self.row.unwrap_or(1) * Isa::best().rows() + self.depth * Isa::best().rows();
        [self.places * self.step() + last, self.panels * self.depth * Isa::best().columns()]
    }

    /// Moves down A `times` times; returns the number of multiplications and additions.
    ///
    /// # Panics
    /// If A or B have fewer [`floats`](Self::floats).
    pub fn go(&self, times: usize, a: &[f32], b: &[f32]) -> f64 {
        let isa = Isa::best();
        let (rows, columns) = (isa.rows(), isa.columns());
        let layout = self.row.map_or(Layout::Columns(rows), Layout::Rows);
        let mut c = vec![0.0; rows * columns];
        let c = SharedFloats::new(&mut c);
        let places = (0..self.places).map(|place| place * self.step());
        for at in (0..times).flat_map(|_| places.clone()) {
            for b in b.chunks_exact(self.depth * columns).take(self.panels) {
                let tile = Tile {
                    rows,
                    columns,
                    a: &a[at..],
                    layout,
                    b,
                    outer: Loop::ONCE,
                    middle: Loop::ONCE,
                    inner: self.depth,
                    c: 0,
                    c_row: columns,
                    start: Start::Zero,
                    relu: false,
                    last: true,
                };
                // SAFETY: `c` is local.
                unsafe { isa.tile(&tile, &c) };
            }
        }
        (2 * rows * columns * self.depth * self.panels * self.places * times) as f64
    }
}

/// Multiplies a block of two by two bf16 tiles over `depth` k, a multiple of 32, `times` times,
/// with packed operands, and returns the number of multiplications and additions. Uses AMX if
/// [`tensor::amx`] has it, and its slow twin otherwise.
pub fn bf16(depth: usize, times: usize) -> f64 {
    let (configured, tiles) = (MatrixUnit::best().configure(), depth / amx::DEPTH);
    let panels = vec![0x3F80; 2 * tiles * amx::PACKED];
    let second = Some(tiles * amx::PACKED);
    let operand = amx::Tiles { elements: &panels, first: 0, second, row: amx::DEPTH };
    let inner = Loop { count: tiles, a: amx::PACKED, b: amx::PACKED };
    let loops = [Loop::ONCE, Loop::ONCE, inner];
    let block = amx::Block { a: operand, b: operand, loops, start: amx::Start::Zero };
    let mut sums = [0.0; amx::SIDE * amx::SIDE];
    for _ in 0..times {
        configured.multiply(&block, &mut sums);
    }
    assert_eq!(sums, [depth as f32; amx::SIDE * amx::SIDE]);
    (2 * amx::SIDE * amx::SIDE * depth * times) as f64
}
