//! For tests only: CUDA kernels compiled for the CPU, behind a stand-in for libcuda.
//!
//! [`load`] compiles the project's `.cu` files with g++ and loads the result under the name by
//! which CUDA's bindings look for the driver, so the host code runs unchanged: modules, launches,
//! memory, copies, streams, events, graphs. The threads of a block are fibers, which run in the
//! order that a test sets ([`Schedule`]). These errors are reported with kernel, block, thread and
//! often the line:
//!
//! * an access outside the operands, outside device memory, outside a shared array, or at an
//!   address that is not a multiple of the access's width;
//! * races: shared memory that one thread writes and another accesses without a barrier in
//!   between;
//! * reads of shared memory before it is written (it starts as NaN);
//! * asynchronous copies (cp.async) at addresses that are no multiples of their size, and accesses
//!   to shared memory before the wait for a copy and a barrier;
//! * launches inside a graph's capture of functions that are not loaded yet;
//! * barriers that only part of a block or warp reaches;
//! * a wrong number or wrong sizes of a kernel's arguments;
//! * overflow of indices, shifts, divisions and signed integers in the source;
//! * missing synchronisation: a stream runs as late as it may.
//!
//! A test can make any allocation or launch fail, remove devices or use an old driver
//! ([`Behaviour`]); this applies to the calling thread only. A program that finds the library by
//! itself reads `CUDA_ON_CPU`, for example `CUDA_ON_CPU="driver_version=12080 failing_launch=7"`.
//! Only the first call needs g++, and only if no earlier run has left its result in
//! `target/cuda-on-cpu`.
//!
//! [`Nccl`] is a stand-in for NCCL, among threads or processes of one host; [`CublasLt`] and
//! [`Cudnn`] are stand-ins for cuBLASLt and cuDNN.

mod compile;
mod cublaslt;
mod cudnn;
mod library;
mod nccl;

pub use compile::Sources;
pub use cublaslt::{CublasLt, CublasLtBehaviour, CublasLtCounts};
pub use cudnn::{Cudnn, CudnnBehaviour, CudnnCounts};
pub use library::{Unsupported, VendorBehaviour, VendorLibrary};
pub use nccl::{Nccl, NcclBehaviour};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::path::Path;
use std::sync::OnceLock;

/// The order in which the threads of a block, and the blocks of a grid, run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// By their numbers.
    Forward,
    /// By their numbers, the last first.
    Reverse,
    /// In a random order, determined by this seed.
    Shuffled(u32),
}

impl Schedule {
    /// The schedules with which every kernel is tested.
    pub const ALL: [Schedule; 3] =
        [Schedule::Forward, Schedule::Reverse, Schedule::Shuffled(0x5EED)];
}

/// The behaviour towards the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// The order of threads and blocks.
    pub schedule: Schedule,
    /// The number of GPUs.
    pub devices: u32,
    /// The driver's version: 13000 is CUDA 13.0.
    pub driver_version: u32,
    /// The memory of a GPU.
    pub memory_bytes: u64,
    /// The allocation that fails, counted from 1 after [`StandIn::behave`]; device memory, pinned
    /// host memory and graphs count.
    pub failing_allocation: Option<u64>,
    /// The launch of a kernel or graph that fails, counted from 1.
    pub failing_launch: Option<u64>,
    /// Copies to the GPU run as early as they may, not as late; this exposes work that should wait
    /// for an earlier copy and does not.
    pub early_copies: bool,
    /// Pageable host memory is read when a copy runs, not during the call that enqueues it; this
    /// exposes memory that is changed or freed meanwhile.
    pub late_reads: bool,
    /// The GPUs' compute capability.
    pub capability: (u32, u32),
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            schedule: Schedule::Forward,
            devices: 1,
            driver_version: 13_000,
            memory_bytes: 8 << 30,
            failing_allocation: None,
            failing_launch: None,
            early_copies: false,
            late_reads: false,
            capability: (9, 0),
        }
    }
}

/// [`Behaviour`] with driver.cpp's layout.
#[repr(C)]
struct RawBehaviour {
    order: c_int,
    seed: c_uint,
    devices: c_int,
    driver_version: c_int,
    memory_bytes: u64,
    failing_allocation: u64,
    failing_launch: u64,
    early_copies: u64,
    late_reads: u64,
    major: c_int,
    minor: c_int,
}

/// A loaded stand-in, which stays loaded as long as the process runs.
#[derive(Debug)]
pub struct StandIn {
    library: Library,
    behave: unsafe extern "C" fn(*const RawBehaviour),
    last_failure: unsafe extern "C" fn() -> *const c_char,
    counts: unsafe extern "C" fn(*mut u64),
    lend: unsafe extern "C" fn(*const u64, *const u64, usize),
    pace: unsafe extern "C" fn(*const c_char),
}

/// The stand-in with the project's kernels. Only the first call builds and loads it.
///
/// # Errors
/// If g++ is missing or a kernel does not compile; the error is one sentence.
pub fn load() -> Result<&'static StandIn, &'static str> {
    static STAND_IN: OnceLock<Result<StandIn, String>> = OnceLock::new();
    let stand_in = STAND_IN.get_or_init(|| StandIn::open(&Sources::of_the_project()?.build()?));
    stand_in.as_ref().map_err(String::as_str)
}

impl StandIn {
    /// Loads a library built by [`Sources::build`].
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub fn open(path: &Path) -> Result<StandIn, String> {
        let broken = |error: libloading::Error| format!("{}: {error}", path.display());
        // SAFETY: the library is ours; loading it only fills a table of kernels.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(broken)?;
        // SAFETY: driver.cpp defines these functions with these signatures.
        let stand_in = unsafe {
            StandIn {
                behave: *library.get(c"cuda_on_cpu_behave").map_err(broken)?,
                last_failure: *library.get(c"cuda_on_cpu_last_failure").map_err(broken)?,
                counts: *library.get(c"cuda_on_cpu_counts").map_err(broken)?,
                lend: *library.get(c"cuda_on_cpu_lend").map_err(broken)?,
                pace: *library.get(c"cuda_on_cpu_pace").map_err(broken)?,
                library,
            }
        };
        Ok(stand_in)
    }

    /// Sets the behaviour towards the calling thread, and resets this thread's counts.
    pub fn behave(&self, behaviour: Behaviour) {
        let (order, seed) = match behaviour.schedule {
            Schedule::Forward => (0, 0),
            Schedule::Reverse => (1, 0),
            Schedule::Shuffled(seed) => (2, seed),
        };
        let raw = RawBehaviour {
            order,
            seed,
            devices: behaviour.devices as c_int,
            driver_version: behaviour.driver_version as c_int,
            memory_bytes: behaviour.memory_bytes,
            failing_allocation: behaviour.failing_allocation.unwrap_or(0),
            failing_launch: behaviour.failing_launch.unwrap_or(0),
            early_copies: behaviour.early_copies.into(),
            late_reads: behaviour.late_reads.into(),
            major: behaviour.capability.0 as c_int,
            minor: behaviour.capability.1 as c_int,
        };
        // SAFETY: driver.cpp copies the record during the call.
        unsafe { (self.behave)(&raw) }
    }

    /// The error of the last kernel of this thread that failed; empty if none did.
    pub fn last_failure(&self) -> String {
        // SAFETY: the C string belongs to this thread and stays at its address.
        let text = unsafe { CStr::from_ptr((self.last_failure)()) };
        text.to_string_lossy().into_owned()
    }

    /// Allocations and launches by this thread since [`behave`](Self::behave).
    pub fn counts(&self) -> [u64; 2] {
        let mut counts = [0; 2];
        // SAFETY: driver.cpp writes two numbers.
        unsafe { (self.counts)(counts.as_mut_ptr()) };
        counts
    }

    /// Restricts kernels to these ranges (address, bytes) of the allocations that contain them,
    /// until these are freed: memory between two operands is out of bounds, too.
    pub fn lend_only(&self, ranges: &[(u64, usize)]) {
        let (addresses, bytes): (Vec<u64>, Vec<u64>) =
            ranges.iter().map(|&(address, bytes)| (address, bytes as u64)).unzip();
        // SAFETY: both arrays have `ranges.len()` elements, and are read during the call.
        unsafe { (self.lend)(addresses.as_ptr(), bytes.as_ptr(), ranges.len()) }
    }

    /// Gives this thread's events a simulated clock that only work advances. `words` are `NAME=N`,
    /// the microseconds of a kernel, or `NAME/S=N`, of a kernel whose grid has S blocks along y;
    /// others take `each=N`, or 1. The algorithms of the stand-ins for cuBLASLt and cuDNN are named
    /// `cublaslt0`, `cudnn1` and so on. Without words, events have the real time. For programs,
    /// `clock=1 ...` in `CUDA_ON_CPU` does the same.
    pub fn pace(&self, words: &CStr) {
        // SAFETY: driver.cpp copies the text during the call.
        unsafe { (self.pace)(words.as_ptr()) }
    }

    /// The library, for tests that call the driver's functions.
    pub fn library(&self) -> &Library {
        &self.library
    }
}
