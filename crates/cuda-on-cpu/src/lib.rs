//! For tests only: CUDA kernels compiled for the CPU, behind a stand-in for libcuda.
//!
//! [`load`] compiles the project's `.cu` files with g++ and loads the result under the name that
//! CUDA's bindings ask the system for, so that the host code runs unchanged: modules, launches,
//! memory, copies, streams, events, graphs. A block's threads are fibers, whose order a test
//! chooses ([`Schedule`]). What is caught, with kernel, block, thread and often the line:
//!
//! * an access outside the operands, outside device memory, outside a shared array, or at an
//!   address that its width does not divide;
//! * shared memory that one thread writes and another touches with no barrier in between, and
//!   shared memory that is read before anybody wrote it (it starts as NaN);
//! * barriers that part of a block or warp does not reach;
//! * arguments of another number or size than the kernel's (the host asks, and is told);
//! * index, shift, division and signed overflow in the source;
//! * forgotten waits: a stream runs as late as it may.
//!
//! A test can have any allocation or launch fail, take devices away or make the driver old
//! ([`Behaviour`]); what it asks for holds for its own thread. A program that finds the library by
//! itself is told by `CUDA_ON_CPU`, as `CUDA_ON_CPU="driver_version=12040 failing_launch=7"`. Only
//! the first call needs g++, and only if no earlier run has left its result under
//! `target/cuda-on-cpu`.
//!
//! GPUs exchange what they have through NCCL: [`Nccl`] is a stand-in for that, among threads or
//! processes of one host. [`CublasLt`] and [`Cudnn`] are some for cuBLASLt and cuDNN.

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

/// The order in which the threads of a block, and the blocks of a grid, take their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// As they are numbered.
    Forward,
    /// The last first.
    Reverse,
    /// In an order that the seed names.
    Shuffled(u32),
}

impl Schedule {
    /// The three that every kernel's test goes through.
    pub const ALL: [Schedule; 3] =
        [Schedule::Forward, Schedule::Reverse, Schedule::Shuffled(0x5EED)];
}

/// How the stand-in behaves to the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// The order of threads and blocks.
    pub schedule: Schedule,
    /// How many GPUs there are.
    pub devices: u32,
    /// The driver's version: 13000 is CUDA 13.0.
    pub driver_version: u32,
    /// Memory of a GPU.
    pub memory_bytes: u64,
    /// The allocation that fails, counted from one after [`StandIn::behave`]; device memory, pinned
    /// host memory and graphs count alike.
    pub failing_allocation: Option<u64>,
    /// The launch, of a kernel or of a graph, that fails.
    pub failing_launch: Option<u64>,
    /// A copy to the GPU runs as early as it may, not as late: what overtakes it that should not,
    /// shows.
    pub early_copies: bool,
    /// Ordinary host memory is read when a copy runs, not during the call that asks for it: what is
    /// changed or freed meanwhile shows.
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

/// [`Behaviour`] as driver.cpp has it.
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

/// A loaded stand-in. It stays loaded for as long as the process lives.
#[derive(Debug)]
pub struct StandIn {
    library: Library,
    behave: unsafe extern "C" fn(*const RawBehaviour),
    last_failure: unsafe extern "C" fn() -> *const c_char,
    counts: unsafe extern "C" fn(*mut u64),
    lend: unsafe extern "C" fn(*const u64, *const u64, usize),
    pace: unsafe extern "C" fn(*const c_char),
}

/// The stand-in with the project's own kernels. Only the first call builds and loads.
///
/// # Errors
/// Why there is none, in one sentence: no g++, or a kernel that does not compile.
pub fn load() -> Result<&'static StandIn, &'static str> {
    static STAND_IN: OnceLock<Result<StandIn, String>> = OnceLock::new();
    let stand_in = STAND_IN.get_or_init(|| StandIn::open(&Sources::of_the_project()?.build()?));
    stand_in.as_ref().map_err(String::as_str)
}

impl StandIn {
    /// Loads a library that [`Sources::build`] made.
    ///
    /// # Errors
    /// If the system refuses it.
    pub fn open(path: &Path) -> Result<StandIn, String> {
        let broken = |error: libloading::Error| format!("{}: {error}", path.display());
        // SAFETY: the library is ours; loading it only fills a table of kernels.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(broken)?;
        // SAFETY: the functions below are driver.cpp's, with these very signatures.
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

    /// From now on, and to this thread, it behaves so. Counting starts again.
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

    /// What the last kernel of this thread that failed did wrong; empty if none did.
    pub fn last_failure(&self) -> String {
        // SAFETY: a C string of this thread's, that stays where it is.
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

    /// From now on kernels may touch only these ranges (address, bytes) of the allocations that
    /// hold them, until those are freed: what lies between two operands is out of bounds, too.
    pub fn lend_only(&self, ranges: &[(u64, usize)]) {
        let (addresses, bytes): (Vec<u64>, Vec<u64>) =
            ranges.iter().map(|&(address, bytes)| (address, bytes as u64)).unzip();
        // SAFETY: two arrays of as many numbers as is said, read during the call.
        unsafe { (self.lend)(addresses.as_ptr(), bytes.as_ptr(), ranges.len()) }
    }

    /// From now on, and to this thread, events tell a time that work moves on: `words` are
    /// `NAME=N`, microseconds of a kernel, or `NAME/S=N`, of one whose grid has S blocks along y;
    /// any other takes `each=N`, or one. The stand-ins for libraries call their ways `cublaslt0`,
    /// `cudnn1` and so on. Without words they tell what time it is. To programs `clock=1 ...` in
    /// `CUDA_ON_CPU` says the same.
    pub fn pace(&self, words: &CStr) {
        // SAFETY: driver.cpp copies the text during the call.
        unsafe { (self.pace)(words.as_ptr()) }
    }

    /// The library, for tests that call the driver's own functions.
    pub fn library(&self) -> &Library {
        &self.library
    }
}
