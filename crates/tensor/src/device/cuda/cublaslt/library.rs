//! The library: finding it, and its functions.

use crate::device::cuda::library::{Raw, SUCCESS, Status, Wanted, functions, text};
use crate::{Error, Result};
use libloading::os::unix::Library;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// The least cuBLASLt that is known to do what is asked of it here, as it counts its versions.
const LEAST: usize = 120_000;

/// What it is called: with the version of CUDA that it is made for, the newest first, or as those
/// who build with it call it.
const WANTED: Wanted = Wanted {
    names: &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"],
    least: "12",
    from: "NVIDIA's CUDA toolkit, or pip install nvidia-cublas",
};

/// cuBLASLt, found when the program runs.
pub struct CublasLt {
    pub(super) functions: Functions,
    version: usize,
    // It stays loaded for as long as the process lives.
    _library: Library,
}

/// CUBLAS_STATUS_NOT_SUPPORTED: it has no way to do this.
pub(super) const NOT_SUPPORTED: Status = 15;

/// CUDA_R_32F: what matrices and factors are made of.
pub(super) const R_32F: c_int = 0;
/// CUBLAS_COMPUTE_32F, _32F_FAST_TF32 and _32F_FAST_16BF.
pub(super) const COMPUTE_F32: c_int = 68;
pub(super) const COMPUTE_TF32: c_int = 77;
pub(super) const COMPUTE_BF16: c_int = 75;
/// CUBLAS_OP_T; without it a matrix is taken as it lies.
pub(super) const TRANSPOSED: c_int = 1;

/// CUBLASLT_MATMUL_DESC_TRANSA and _TRANSB.
pub(super) const DESC_TRANSPOSE: [c_int; 2] = [3, 4];
/// CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES.
pub(super) const PREFER_WORKSPACE: c_int = 1;
/// CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, and the scheme that adds parts of a sum up in the
/// workspace.
pub(super) const PREFER_REDUCTION: c_int = 3;
pub(super) const REDUCE_IN_WORKSPACE: u32 = 2;
/// CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, and of B, C and D.
pub(super) const PREFER_ALIGNMENT: [c_int; 4] = [5, 6, 7, 8];

/// cublasLtMatmulAlgo_t: a way to multiply, which only cuBLASLt understands.
pub(super) type Algorithm = [u64; 8];

/// cublasLtMatmulHeuristicResult_t.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Found {
    pub algorithm: Algorithm,
    pub workspace: usize,
    pub state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

functions! {
    version = "cublasLtGetVersion": fn() -> usize;
    name_of = "cublasLtGetStatusName": fn(Status) -> *const c_char;
    create = "cublasLtCreate": fn(*mut Raw) -> Status;
    destroy = "cublasLtDestroy": fn(Raw) -> Status;
    create_product = "cublasLtMatmulDescCreate": fn(*mut Raw, c_int, c_int) -> Status;
    set_product =
        "cublasLtMatmulDescSetAttribute": fn(Raw, c_int, *const c_void, usize) -> Status;
    destroy_product = "cublasLtMatmulDescDestroy": fn(Raw) -> Status;
    create_layout = "cublasLtMatrixLayoutCreate": fn(*mut Raw, c_int, u64, u64, i64) -> Status;
    destroy_layout = "cublasLtMatrixLayoutDestroy": fn(Raw) -> Status;
    create_preference = "cublasLtMatmulPreferenceCreate": fn(*mut Raw) -> Status;
    set_preference =
        "cublasLtMatmulPreferenceSetAttribute": fn(Raw, c_int, *const c_void, usize) -> Status;
    destroy_preference = "cublasLtMatmulPreferenceDestroy": fn(Raw) -> Status;
    find = "cublasLtMatmulAlgoGetHeuristic":
        fn(Raw, Raw, Raw, Raw, Raw, Raw, Raw, c_int, *mut Found, *mut c_int) -> Status;
    multiply = "cublasLtMatmul":
        fn(
            Raw, Raw, *const c_void, *const c_void, Raw, *const c_void, Raw, *const c_void,
            *const c_void, Raw, *mut c_void, Raw, *const Algorithm, *mut c_void, usize, *mut c_void
        ) -> Status;
}

impl CublasLt {
    /// The one that the system finds.
    ///
    /// # Errors
    /// [`Error::CublasLt`], with what to do: there is none, or it is too old.
    pub fn find() -> Result<&'static CublasLt> {
        static FOUND: OnceLock<std::result::Result<&'static CublasLt, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| WANTED.find(CublasLt::of));
        found.clone().map_err(Error::CublasLt)
    }

    /// The one in this file.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn open(path: &Path) -> Result<&'static CublasLt> {
        Wanted::open(path, CublasLt::of).map_err(Error::CublasLt)
    }

    fn of(library: Library, name: &str) -> std::result::Result<&'static CublasLt, String> {
        let old = |reason| WANTED.old(name, reason);
        let functions =
            Functions::of(&library).map_err(|missing| old(format!("has no `{missing}`")))?;
        // SAFETY: takes nothing.
        let version = unsafe { (functions.version)() };
        if version >= LEAST {
            Ok(Box::leak(Box::new(CublasLt { functions, version, _library: library })))
        } else {
            Err(old(format!("is version {}", dotted(version))))
        }
    }

    /// `12.9.1`.
    pub fn version(&self) -> String {
        dotted(self.version)
    }

    /// `what`, if it did not end well, as an error.
    pub(super) fn check(&self, status: Status, what: &str) -> Result<()> {
        if status == SUCCESS { Ok(()) } else { Err(self.failed(status, what)) }
    }

    /// That `what` has ended so.
    pub(super) fn failed(&self, status: Status, what: &str) -> Error {
        // SAFETY: a constant text for any number.
        let name = text(unsafe { (self.functions.name_of)(status) });
        Error::Gpu { what: format!("cuBLASLt's {what}"), reason: format!("it reports {name}") }
    }
}

impl fmt::Debug for CublasLt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CublasLt({})", self.version())
    }
}

fn dotted(version: usize) -> String {
    format!("{}.{}.{}", version / 10_000, version % 10_000 / 100, version % 100)
}
