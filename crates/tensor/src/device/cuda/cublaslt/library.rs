//! cuBLASLt's functions and constants.

use crate::Error;
use crate::device::cuda::library::{
    FoundLibrary, Raw, Status, Vendor, VendorLibrary, functions, text,
};
use std::ffi::{c_char, c_int, c_void};

/// cuBLASLt, loaded at run time.
pub type CublasLt = VendorLibrary<Api>;

/// cuBLASLt's functions.
#[derive(Debug)]
pub struct Api;

/// CUBLAS_STATUS_NOT_SUPPORTED.
pub(super) const NOT_SUPPORTED: Status = 15;

/// CUDA_R_32F: the type of matrices and factors.
pub(super) const R_32F: c_int = 0;
/// CUBLAS_COMPUTE_32F, _32F_FAST_TF32 and _32F_FAST_16BF.
pub(super) const COMPUTE_F32: c_int = 68;
pub(super) const COMPUTE_TF32: c_int = 77;
pub(super) const COMPUTE_BF16: c_int = 75;
/// CUBLAS_OP_T; by default a matrix is not transposed.
pub(super) const TRANSPOSED: c_int = 1;

/// CUBLASLT_MATMUL_DESC_TRANSA and _TRANSB.
pub(super) const DESC_TRANSPOSE: [c_int; 2] = [3, 4];
/// CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES.
pub(super) const PREFER_WORKSPACE: c_int = 1;
/// CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, and the scheme that adds partial sums in the
/// workspace.
pub(super) const PREFER_REDUCTION: c_int = 3;
pub(super) const REDUCE_IN_WORKSPACE: u32 = 2;
/// CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, and of B, C and D.
pub(super) const PREFER_ALIGNMENT: [c_int; 4] = [5, 6, 7, 8];

/// cublasLtMatmulAlgo_t: an algorithm, opaque to callers.
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

impl Vendor for Api {
    const TYPE: &'static str = "CublasLt";
    /// With the version of CUDA that the library is made for, the newest first; the last is the
    /// name for linking.
    const NAMES: &'static [&'static str] =
        &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"];
    const FROM: &'static str = "NVIDIA's CUDA toolkit, or pip install nvidia-cublas";
    const LEAST: usize = 120_000;
    const LEAST_TEXT: &'static str = "12";
    type Functions = Functions;

    fn version(functions: &Functions) -> std::result::Result<usize, String> {
        // SAFETY: has no parameters.
        Ok(unsafe { (functions.version)() })
    }

    fn dotted(version: usize) -> String {
        format!("{}.{}.{}", version / 10_000, version % 10_000 / 100, version % 100)
    }

    fn error(reason: String) -> Error {
        Error::CublasLt(reason)
    }

    fn failed(functions: &Functions, status: Status, what: &str) -> Error {
        // SAFETY: returns a constant text for any number.
        let name = text(unsafe { (functions.name_of)(status) });
        Error::Gpu { what: format!("cuBLASLt's {what}"), reason: format!("it reports {name}") }
    }

    fn found() -> &'static FoundLibrary<Api> {
        static FOUND: FoundLibrary<Api> = FoundLibrary::new();
        &FOUND
    }
}
