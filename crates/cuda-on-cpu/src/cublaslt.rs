//! A stand-in for cuBLASLt.

use crate::library::{Unsupported, VendorBehaviour, VendorLibrary};

/// The stand-in for cuBLASLt.
pub type CublasLt = VendorLibrary<CublasLtBehaviour>;

/// The behaviour towards the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct CublasLtBehaviour {
    /// The version as cuBLASLt encodes it: 130100 is 13.1.0.
    pub version: u64,
    /// The call that fails, counted from 1 after [`behave`](VendorLibrary::behave); calls that
    /// destroy something do not count.
    pub failing_call: Option<u64>,
    /// Whether and how the library reports every product as unsupported.
    pub unsupported: Option<Unsupported>,
    /// The number of algorithms that it finds, if as many are requested; their results differ in
    /// some bits. `None`: 1, or `cublaslt_ways=N` in `CUDA_ON_CPU`.
    pub algorithms: Option<u64>,
    /// The algorithm that fails, counted from 0; or `cublaslt_failing_way`, from 1.
    pub failing_algorithm: Option<u64>,
    /// The algorithm with wrong results; or `cublaslt_wrong_way`.
    pub wrong_algorithm: Option<u64>,
}

impl Default for CublasLtBehaviour {
    fn default() -> CublasLtBehaviour {
        CublasLtBehaviour {
            version: 130_100,
            failing_call: None,
            unsupported: None,
            algorithms: None,
            failing_algorithm: None,
            wrong_algorithm: None,
        }
    }
}

/// Counts of the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CublasLtCounts {
    /// Calls, except those that destroy something.
    pub calls: u64,
    /// Products among them, recorded or enqueued.
    pub products: u64,
    /// Handles and descriptors that were created and not destroyed.
    pub alive: u64,
}

impl VendorBehaviour for CublasLtBehaviour {
    const STEM: &'static str = "cublaslt";
    const NAME: &'static str = "libcublasLt.so.13";
    type Counts = CublasLtCounts;

    fn words(&self) -> [u64; 6] {
        [
            self.version,
            self.failing_call.unwrap_or(0),
            self.unsupported.map_or(0, |how| how as u64),
            self.algorithms.unwrap_or(0),
            self.failing_algorithm.map_or(0, |algorithm| algorithm + 1),
            self.wrong_algorithm.map_or(0, |algorithm| algorithm + 1),
        ]
    }

    fn counts([calls, products, alive]: [u64; 3]) -> CublasLtCounts {
        CublasLtCounts { calls, products, alive }
    }
}
