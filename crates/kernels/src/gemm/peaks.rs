//! Parts of a product on a GPU in isolation, to measure the rates from which its time is expected.
//! No op uses this.

use super::cuda;
use tensor::{Cuda, DType, Grid, Precision, Result, Shape, Slot};

/// As in `gemm.cu`: products or reads of a turn, and the floats that a block reads again and again.
const AT_ONCE: usize = 8;
const SPAN: usize = 4 * 1024;
/// Multiply-adds of a warp's product, and the bytes that a thread reads at once.
const PRODUCT: usize = 16 * 8 * 16;
const READ: usize = 16;

/// What limits a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// Products of `mma.sync` in bf16.
    TensorCores,
    /// Reads of shared memory.
    SharedMemory,
    /// Reads that hit the first-level cache.
    FirstLevelCache,
    /// Reads that hit the second-level cache only.
    SecondLevelCache,
}

impl Peak {
    /// All of them.
    pub const ALL: [Peak; 4] =
        [Peak::TensorCores, Peak::SharedMemory, Peak::FirstLevelCache, Peak::SecondLevelCache];

    /// As in a table.
    pub fn name(self) -> &'static str {
        match self {
            Peak::TensorCores => "mma.sync in bf16",
            Peak::SharedMemory => "shared memory",
            Peak::FirstLevelCache => "first-level cache",
            Peak::SecondLevelCache => "second-level cache",
        }
    }
}

/// A measurement on a GPU.
#[derive(Clone, Copy, Debug)]
pub struct PeakRun {
    /// What the threads read: `f32`, a power of two of them, at least 4096. The second-level cache
    /// has to hold them, and the first-level cache must not.
    pub x: Slot,
    /// A sum for each thread, of blocks of 256.
    pub y: Slot,
    /// How often each thread repeats its work.
    pub turns: u32,
}

impl PeakRun {
    /// The shape of `y` for so many blocks.
    pub fn sums(blocks: usize) -> Shape {
        Shape::from([blocks * Grid::THREADS as usize])
    }

    /// Multiplications and additions, or bytes, of a run.
    pub fn amount(&self, peak: Peak) -> f64 {
        let turns = (self.turns as usize * AT_ONCE * self.y.len()) as f64;
        match peak {
            Peak::TensorCores => turns / 32.0 * (2 * PRODUCT) as f64,
            _ => turns * READ as f64,
        }
    }

    /// Launches it.
    ///
    /// # Errors
    /// If the GPU fails.
    ///
    /// # Panics
    /// If `x` or `y` is not as described, or a GPU without bf16 shall multiply.
    pub fn launch(&self, gpu: &mut Cuda, peak: Peak) -> Result<()> {
        let (floats, threads) = (self.x.len(), self.y.len());
        assert!([self.x, self.y].iter().all(|slot| slot.dtype() == DType::F32), "slots of f32");
        assert!(floats.is_power_of_two() && floats >= SPAN, "{floats} floats to read");
        assert!(threads.is_multiple_of(Grid::THREADS as usize), "{threads} sums");
        let is_bf16 = gpu.precision() == Precision::Bf16;
        assert!(peak != Peak::TensorCores || is_bf16, "a GPU in bf16");
        let kernel = match peak {
            Peak::TensorCores => return cuda::products(gpu, self.y, self.turns),
            Peak::SharedMemory => cuda::SHARED_MEMORY,
            Peak::FirstLevelCache => cuda::FIRST_LEVEL_CACHE,
            Peak::SecondLevelCache => cuda::SECOND_LEVEL_CACHE,
        };
        cuda::reads(gpu, kernel, [self.x, self.y], self.turns)
    }
}
