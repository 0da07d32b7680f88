//! On a card: how a product is cut into blocks. The arithmetic is `cuh/product.cuh`.
//! The cut is the same in every precision.

use tensor::{Address, Argument, Cuda, Grid, Image, Precision, Result, Shape, Slot};

/// Blocks that fill a large card: two on each of an H100's 132 processors. A number, and not the
/// card's own, so that every card comes to the same bits.
const ENOUGH_BLOCKS: usize = 264;
/// A slice of k has at least this many.
const LEAST_SLICE: usize = 256;
/// k of a panel: a slice is a multiple of it.
const DEPTH: usize = 16;

/// A product C = A B, or several alike (the groups of a convolution), cut into tiles of C and
/// slices of k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Rows of C.
    pub rows: usize,
    /// Columns of C.
    pub columns: usize,
    /// k that are summed over.
    pub depth: usize,
    /// How many such products there are.
    pub products: usize,
    /// Rows and columns of a tile.
    pub span: usize,
    /// How many slices k is cut into.
    pub slices: usize,
}

impl Cut {
    pub fn of([rows, columns, depth]: [usize; 3], products: usize) -> Cut {
        let span = if rows > 64 && columns > 64 { 128 } else { 64 };
        let blocks = products * rows.div_ceil(span) * columns.div_ceil(span);
        let most = depth / LEAST_SLICE;
        let slices = (ENOUGH_BLOCKS / blocks.max(1)).min(most).max(1);
        let cut = Cut { rows, columns, depth, products, span, slices };
        // No slice is empty.
        Cut { slices: depth.div_ceil(cut.slice()).max(1), ..cut }
    }

    /// k of a slice; the last has fewer.
    pub fn slice(&self) -> usize {
        self.depth.div_ceil(self.slices).next_multiple_of(DEPTH)
    }

    /// Floats of scratch memory for outputs of these lengths: the sums of every slice, if there are
    /// several.
    pub fn scratch(&self, outputs: &[usize]) -> usize {
        if self.slices == 1 { 0 } else { self.slices * outputs.iter().sum::<usize>() }
    }

    /// Where the kernel writes: to its outputs, or the sums of the slices to scratch memory, from
    /// where a [`Sum`] brings them to the outputs.
    ///
    /// # Panics
    /// If there is not as much scratch memory as [`scratch`](Self::scratch) says.
    pub fn targets<const N: usize>(&self, outputs: [Slot; N], scratch: Slot) -> [Slot; N] {
        if self.slices == 1 {
            return outputs;
        }
        let needed = self.scratch(&outputs.map(|output| output.len()));
        let has = scratch.len();
        assert!(has >= needed, "scratch of {has} floats; a card needs {needed}");
        let mut begin = 0;
        outputs.map(|output| {
            let len = self.slices * output.len();
            begin += len;
            scratch.part(begin - len, Shape::from([len]))
        })
    }

    /// Tiles along x, slices along y, products along z.
    pub fn grid(&self) -> Grid {
        let grid = Grid::of(self.rows.div_ceil(self.span) * self.tiles_across(), Grid::THREADS);
        Grid { blocks: [grid.blocks[0], self.slices as u32, self.products as u32], ..grid }
    }

    pub fn tiles_across(&self) -> usize {
        self.columns.div_ceil(self.span)
    }

    /// The kernel for its tiles, in the numbers in which the card multiplies.
    pub fn kernel(&self, cuda: &Cuda, kernels: &Kernels) -> &'static str {
        let [large, small] = match cuda.precision() {
            Precision::F32 => kernels.f32,
            Precision::Tf32 => kernels.tf32,
            Precision::Bf16 => kernels.bf16,
        };
        if self.span == 128 { large } else { small }
    }
}

/// The kernels of a product: in each precision for tiles of 128 x 128, and for those of 64 x 64.
pub(crate) struct Kernels {
    pub f32: [&'static str; 2],
    pub tf32: [&'static str; 2],
    pub bf16: [&'static str; 2],
}

/// Whether all neighbours of an operand can be read four at a time: it begins at a multiple of 16
/// bytes, and runs of `extents` floats lie one after the other.
pub(crate) fn is_wide(cuda: &Cuda, operand: Slot, extents: &[usize]) -> u32 {
    let aligned = cuda.address(operand).get().is_multiple_of(16);
    u32::from(aligned && extents.iter().all(|extent| extent.is_multiple_of(4)))
}

/// The kernel that adds up slices.
pub(crate) struct Sum {
    pub image: &'static Image,
    pub kernel: &'static str,
}

impl Sum {
    /// `to` is the sum over the slices of a cut, each as long as it, with a bias for each of its
    /// columns and rectified. Nothing, if there is one slice: then the product has written it.
    pub fn launch(
        &self,
        cuda: &mut Cuda,
        cut: &Cut,
        slices: Slot,
        (bias, relu): (Option<Slot>, bool),
        to: Slot,
    ) -> Result<()> {
        if cut.slices == 1 {
            return Ok(());
        }
        let (n, grid) = (to.len() as u64, Grid::over(to.len().div_ceil(4)));
        let (count, relu) = (cut.slices as u32, u32::from(relu));
        let columns = bias.map_or(1, |bias| bias.len()) as u32;
        let bias = bias.map_or(Address::NOWHERE, |bias| cuda.address(bias));
        let [slices, to] = cuda.addresses([slices, to]);
        let arguments: [&dyn Argument; 7] = [&slices, &count, &columns, &relu, &bias, &to, &n];
        // SAFETY: the parameters of `add_slices` in their order; `slices` has `count` times n
        // floats, and a bias is read at the remainder of an index by its length.
        unsafe { cuda.launch(self.image, self.kernel, grid, &arguments) }
    }
}
