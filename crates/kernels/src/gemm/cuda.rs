//! On a GPU: how a product is split into blocks. The arithmetic is in `cuh/product.cuh`.
//! The default tiling follows from the sizes and is the same on every GPU; the tuner can select
//! others. Precisions differ in the shapes of their tiles, never in the slices of k, so an element
//! of C is the same sum whatever its tile is.

use tensor::tune::GpuAlgorithm;
use tensor::{Address, Argument, Cuda, Grid, Image, Precision, Result, Shape, Slot};

/// Blocks that fill a large GPU: two on each of an H100's 132 multiprocessors. A constant instead
/// of the GPU's own number, so that results are bit-identical on every GPU.
const ENOUGH_BLOCKS: usize = 2 * MULTIPROCESSORS;
const MULTIPROCESSORS: usize = 132;
/// The least k of a slice.
const LEAST_SLICE: usize = 256;
/// For the tuner's tilings: the least k of a slice, the most blocks if there are several slices,
/// and the numbers of slices.
const MIN_TUNED_SLICE: usize = 128;
const MAX_TUNED_BLOCKS: usize = 4 * ENOUGH_BLOCKS;
const TUNED_SLICES: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
/// k per panel: a slice is a multiple of it.
const DEPTH: usize = 16;

/// A product C = A B, or several of equal size (the groups of a convolution), split into tiles of C
/// and slices of k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Rows of C.
    pub rows: usize,
    /// Columns of C.
    pub columns: usize,
    /// k: the length of the sums.
    pub depth: usize,
    /// Number of products.
    pub products: usize,
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    /// Number of slices of k.
    pub slices: usize,
    /// What can run it.
    kernels: &'static [TileKernel],
}

impl Tiling {
    /// In tiles of 128 x 128 or 64 x 64, which every precision has.
    pub fn of([rows, columns, depth]: [usize; 3], products: usize) -> Tiling {
        let span = if rows > 64 && columns > 64 { 128 } else { 64 };
        let tile = [span; 2];
        let whole = Tiling { rows, columns, depth, products, tile, slices: 1, kernels: &[] };
        let most = depth / LEAST_SLICE;
        whole.split_into(tile, (ENOUGH_BLOCKS / whole.blocks().max(1)).min(most).max(1))
    }

    /// The same slices, in squares as before or those oblong tiles of these kernels that take the
    /// fewest clocks.
    pub fn run_by(self, kernels: &'static [TileKernel]) -> Tiling {
        let tilings = kernels.iter().map(|&(tile, _)| Tiling { tile, kernels, ..self });
        let sensible = tilings.filter(|tiling| {
            let [rows, columns] = tiling.tile;
            tiling.tile == self.tile || rows != columns && tiling.is_sensible()
        });
        // Of equal ones the square.
        let key = |tiling: &Tiling| (tiling.clocks(), tiling.tile != self.tile);
        sensible.min_by_key(key).unwrap_or(self)
    }

    /// An estimate of the clocks that the product takes: a multiprocessor reads a panel's rows of
    /// 64 bytes at about 20 bytes a clock from the second-level cache, which is the longest part of
    /// its work in bf16 (`cuh/bf16.cuh`). Two blocks hide each other's waits; a single one takes a
    /// third longer.
    fn clocks(&self) -> usize {
        let [rows, columns] = self.tile;
        let panels = self.slice() / DEPTH;
        let of_block = panels * (rows + columns) * 13 / 4 + 800 + rows * columns / 10;
        let rounds = self.blocks().div_ceil(MULTIPROCESSORS);
        (3 * rounds + rounds % 2) * of_block
    }

    /// Whether the product has use for more than half of a tile's rows, and of its columns.
    fn is_sensible(&self) -> bool {
        let sizes = [self.rows, self.columns];
        self.tile.iter().zip(sizes).all(|(&tile, size)| tile <= 64 || size > (tile / 2).max(64))
    }

    /// The same product with such tiles and at most so many slices, none of them empty.
    fn split_into(self, tile: [usize; 2], slices: usize) -> Tiling {
        let tiling = Tiling { tile, slices, ..self };
        Tiling { slices: self.depth.div_ceil(tiling.slice()).max(1), ..tiling }
    }

    fn blocks(&self) -> usize {
        self.products * self.tiles_down() * self.tiles_across() * self.slices
    }

    /// This tiling as an algorithm for the tuner.
    pub fn algorithm(&self) -> GpuAlgorithm {
        GpuAlgorithm::Own { tile: self.tile, slices: self.slices }
    }

    /// The same product with the tiling of `algorithm`, if that is one of our tilings and the
    /// scratch memory suffices. Its own tiling is always accepted.
    pub fn with_algorithm(
        self,
        algorithm: GpuAlgorithm,
        outputs: &[usize],
        scratch: Slot,
    ) -> Option<Tiling> {
        if algorithm == self.algorithm() {
            return Some(self);
        }
        let GpuAlgorithm::Own { tile, slices } = algorithm else { return None };
        self.kernels.iter().find(|kernel| kernel.0 == tile)?;
        let tiling = self.split_into(tile, slices);
        (tiling.slices == slices && tiling.scratch(outputs) <= scratch.len()).then_some(tiling)
    }

    /// Tilings worth timing for which the scratch memory suffices.
    pub fn algorithms(self, outputs: &[usize], scratch: Slot) -> Vec<GpuAlgorithm> {
        let tilings =
            self.kernels.iter().flat_map(|kernel| TUNED_SLICES.map(|slices| (kernel.0, slices)));
        let tilings = tilings.map(|(tile, slices)| Tiling { tile, slices, ..self });
        let sensible = tilings.filter(|tiling| {
            let is_long = tiling.depth / tiling.slices >= MIN_TUNED_SLICE;
            tiling.is_sensible()
                && (tiling.slices == 1 || is_long && tiling.blocks() <= MAX_TUNED_BLOCKS)
        });
        let fits =
            |tiling: &Tiling| self.with_algorithm(tiling.algorithm(), outputs, scratch).is_some();
        sensible.filter(fits).map(|tiling| tiling.algorithm()).collect()
    }

    /// k per slice; the last has fewer.
    pub fn slice(&self) -> usize {
        self.depth.div_ceil(self.slices).next_multiple_of(DEPTH)
    }

    /// Floats of scratch memory for outputs of these lengths: the sums of every slice, if there are
    /// several.
    pub fn scratch(&self, outputs: &[usize]) -> usize {
        if self.slices == 1 { 0 } else { self.slices * outputs.iter().sum::<usize>() }
    }

    /// The slots that the kernel writes: its outputs; with several slices, scratch memory, whose
    /// sums a [`SliceSum`] then adds into the outputs.
    ///
    /// # Panics
    /// If the scratch memory is smaller than [`scratch`](Self::scratch).
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
        let grid = Grid::of(self.tiles_down() * self.tiles_across(), Grid::THREADS);
        Grid { blocks: [grid.blocks[0], self.slices as u32, self.products as u32], ..grid }
    }

    pub fn tiles(&self) -> super::GpuTiles {
        let Tiling { tile, slices, .. } = *self;
        super::GpuTiles { kernel: self.kernel(), tile, slices, slice: self.slice(), panel: DEPTH }
    }

    fn tiles_down(&self) -> usize {
        self.rows.div_ceil(self.tile[0])
    }

    pub fn tiles_across(&self) -> usize {
        self.columns.div_ceil(self.tile[1])
    }

    /// The kernel for this tiling.
    ///
    /// # Panics
    /// Without [`run_by`](Self::run_by).
    pub fn kernel(&self) -> &'static str {
        let kernel = self.kernels.iter().find(|kernel| kernel.0 == self.tile);
        kernel.expect("the tile is one of the kernels'").1
    }
}

/// Rows and columns of a tile, and the kernel for it.
pub(crate) type TileKernel = ([usize; 2], &'static str);

/// The kernels of a product, in each precision.
pub(crate) struct Kernels {
    pub f32: &'static [TileKernel],
    pub tf32: &'static [TileKernel],
    pub bf16: &'static [TileKernel],
}

impl Kernels {
    /// Those for the GPU's precision.
    pub fn of(&self, cuda: &Cuda) -> &'static [TileKernel] {
        match cuda.precision() {
            Precision::F32 => self.f32,
            Precision::Tf32 => self.tf32,
            Precision::Bf16 => self.bf16,
        }
    }
}

/// All of them.
pub(super) fn all() -> [&'static Kernels; 6] {
    let [conv, linear] = [&crate::conv::GPU_KERNELS, &crate::linear::GPU_KERNELS];
    [conv[0], conv[1], conv[2], linear[0], linear[1], linear[2]]
}

/// Whether an operand can be read four floats at a time: it is aligned to 16 bytes, and its runs of
/// `extents` floats are multiples of four.
pub(crate) fn is_wide(cuda: &Cuda, operand: Slot, extents: &[usize]) -> u32 {
    let aligned = cuda.address(operand).get().is_multiple_of(16);
    u32::from(aligned && extents.iter().all(|extent| extent.is_multiple_of(4)))
}

/// What follows the last sum of a product.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    /// Added to each row.
    pub bias: Option<Slot>,
    /// Whether the result is rectified.
    pub relu: bool,
}

impl Epilogue {
    pub const NONE: Epilogue = Epilogue { bias: None, relu: false };
}

/// The kernel that adds slices.
pub(crate) struct SliceSum {
    pub image: &'static Image,
    pub kernel: &'static str,
}

impl SliceSum {
    /// Writes the sum over the slices of a product to `to`. With a single slice the product has
    /// written `to` already, epilogue included, and nothing is launched.
    pub fn launch(
        &self,
        cuda: &mut Cuda,
        tiling: &Tiling,
        slices: Slot,
        epilogue: Epilogue,
        to: Slot,
    ) -> Result<()> {
        match tiling.slices {
            1 => Ok(()),
            count => self.add(cuda, slices, count, epilogue, to),
        }
    }

    /// Writes the sum over `count` slices, each as long as `to`, to `to`, which may be a slice.
    pub fn add(
        &self,
        cuda: &mut Cuda,
        slices: Slot,
        count: usize,
        Epilogue { bias, relu }: Epilogue,
        to: Slot,
    ) -> Result<()> {
        let (n, grid) = (to.len() as u64, Grid::over(to.len().div_ceil(4)));
        let (count, relu) = (count as u32, u32::from(relu));
        let columns = bias.map_or(1, |bias| bias.len()) as u32;
        let bias = bias.map_or(Address::NOWHERE, |bias| cuda.address(bias));
        let [slices, to] = cuda.addresses([slices, to]);
        let arguments: [&dyn Argument; 7] = [&slices, &count, &columns, &relu, &bias, &to, &n];
        // SAFETY: the parameters of `add_slices` in their order; `slices` has `count` times n
        // floats, and a bias is indexed modulo its length.
        unsafe { cuda.launch(self.image, self.kernel, grid, &arguments) }
    }
}

static IMAGE: Image = Image { op: "gemm", bytes: include_bytes!("gemm.fatbin") };

/// The kernels of [`reads`].
pub(super) const SHARED_MEMORY: &str = "gemm_shared_memory";
pub(super) const FIRST_LEVEL_CACHE: &str = "gemm_first_level_cache";
pub(super) const SECOND_LEVEL_CACHE: &str = "gemm_second_level_cache";

/// Only multiplies; `y` has a float for each thread.
pub(super) fn products(cuda: &mut Cuda, y: Slot, turns: u32) -> Result<()> {
    let (grid, y) = (Grid::over(y.len()), cuda.address(y));
    // SAFETY: the kernel's parameters in their order; y has a float for each thread.
    unsafe { cuda.launch(&IMAGE, "gemm_tensor_cores", grid, &[&y, &turns]) }
}

/// Only reads `x`, of at least 16 KB; `y` has a float for each thread.
pub(super) fn reads(
    cuda: &mut Cuda,
    kernel: &'static str,
    [x, y]: [Slot; 2],
    turns: u32,
) -> Result<()> {
    let (count, grid) = ((x.len() / 4) as u32, Grid::over(y.len()));
    let [x, y] = cuda.addresses([x, y]);
    let arguments: &[&dyn Argument] = match kernel {
        SECOND_LEVEL_CACHE => &[&x, &count, &y, &turns],
        _ => &[&x, &y, &turns],
    };
    // SAFETY: the kernels' parameters in their order; x has `count` times 16 bytes, at least as
    // many as a block of the other kernels reads, and y a float for each thread.
    unsafe { cuda.launch(&IMAGE, kernel, grid, arguments) }
}
