//! On a GPU: how a product is cut into blocks. The arithmetic is `cuh/product.cuh`.
//! The rule's cut is the same in every precision and on every GPU; others are ways to be tuned.

use tensor::tune::Way;
use tensor::{Address, Argument, Cuda, Grid, Image, Precision, Result, Shape, Slot};

/// Blocks that fill a large GPU: two on each of an H100's 132 processors. A number, and not the
/// GPU's own, so that every GPU comes to the same bits.
const ENOUGH_BLOCKS: usize = 264;
/// A slice of k has at least this many.
const LEAST_SLICE: usize = 256;
/// Of cuts to be tuned: k of a slice at least, blocks at most if there are several slices, and in
/// how many slices.
const LEAST_TUNED_SLICE: usize = 128;
const MOST_TUNED_BLOCKS: usize = 4 * ENOUGH_BLOCKS;
const TUNED_SLICES: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
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
        let whole = Cut { rows, columns, depth, products, span, slices: 1 };
        let most = depth / LEAST_SLICE;
        whole.cut_into(span, (ENOUGH_BLOCKS / whole.blocks().max(1)).min(most).max(1))
    }

    /// The same product in such tiles and so many slices, or as many as are not empty.
    fn cut_into(self, span: usize, slices: usize) -> Cut {
        let cut = Cut { span, slices, ..self };
        Cut { slices: self.depth.div_ceil(cut.slice()).max(1), ..cut }
    }

    fn blocks(&self) -> usize {
        let tiles = self.rows.div_ceil(self.span) * self.columns.div_ceil(self.span);
        self.products * tiles * self.slices
    }

    /// This cut's name among ways to do the same.
    pub fn way(&self) -> Way {
        Way::Own { tile: self.span, slices: self.slices }
    }

    /// The same product cut in this way, if that is one of our own for which there is as much
    /// scratch memory. For its own way there must be.
    pub fn in_way(self, way: Way, outputs: &[usize], scratch: Slot) -> Option<Cut> {
        if way == self.way() {
            return Some(self);
        }
        let Way::Own { tile: span @ (64 | 128), slices } = way else { return None };
        let cut = self.cut_into(span, slices);
        (cut.slices == slices && cut.scratch(outputs) <= scratch.len()).then_some(cut)
    }

    /// Cuts worth trying for which there is as much scratch memory.
    pub fn ways(self, outputs: &[usize], scratch: Slot) -> Vec<Way> {
        let cuts = [128, 64].into_iter().flat_map(|span| TUNED_SLICES.map(|slices| (span, slices)));
        let cuts = cuts.map(|(span, slices)| Cut { span, slices, ..self });
        let sensible = cuts.filter(|cut| {
            let is_small = cut.rows.min(cut.columns) <= 64;
            let is_long = cut.depth / cut.slices >= LEAST_TUNED_SLICE;
            (cut.span == 64 || !is_small)
                && (cut.slices == 1 || is_long && cut.blocks() <= MOST_TUNED_BLOCKS)
        });
        let there = |cut: &Cut| self.in_way(cut.way(), outputs, scratch).is_some();
        sensible.filter(there).map(|cut| cut.way()).collect()
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
        assert!(has >= needed, "scratch of {has} floats; a GPU needs {needed}");
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

    /// The kernel for its tiles, in the numbers in which the GPU multiplies.
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
        match cut.slices {
            1 => Ok(()),
            count => self.add(cuda, (slices, count), (bias, relu), to),
        }
    }

    /// `to` is the sum over so many slices, each as long as it. It may lie where one slice does.
    pub fn add(
        &self,
        cuda: &mut Cuda,
        (slices, count): (Slot, usize),
        (bias, relu): (Option<Slot>, bool),
        to: Slot,
    ) -> Result<()> {
        let (n, grid) = (to.len() as u64, Grid::over(to.len().div_ceil(4)));
        let (count, relu) = (count as u32, u32::from(relu));
        let columns = bias.map_or(1, |bias| bias.len()) as u32;
        let bias = bias.map_or(Address::NOWHERE, |bias| cuda.address(bias));
        let [slices, to] = cuda.addresses([slices, to]);
        let arguments: [&dyn Argument; 7] = [&slices, &count, &columns, &relu, &bias, &to, &n];
        // SAFETY: the parameters of `add_slices` in their order; `slices` has `count` times n
        // floats, and a bias is read at the remainder of an index by its length.
        unsafe { cuda.launch(self.image, self.kernel, grid, &arguments) }
    }
}
