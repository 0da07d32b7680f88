//! cuDNN's functions and constants.

use crate::Error;
use crate::device::cuda::library::{
    FoundLibrary, Raw, SUCCESS, Status, Vendor, VendorLibrary, functions, text,
};
use std::ffi::{c_char, c_int, c_void};

/// cuDNN, loaded at run time.
pub type Cudnn = VendorLibrary<Api>;

/// cuDNN's functions.
#[derive(Debug)]
pub struct Api;

/// CUDNN_TENSOR_NHWC; for filters that is OHWI.
pub(super) const NHWC: c_int = 1;
/// CUDNN_DATA_FLOAT: the type of tensors and of sums.
pub(super) const FLOAT: c_int = 0;
/// CUDNN_CROSS_CORRELATION: filters are not flipped.
pub(super) const CROSS_CORRELATION: c_int = 1;
/// CUDNN_DEFAULT_MATH: tensor cores may multiply floats in tf32.
pub(super) const TF32: c_int = 0;
/// CUDNN_FMA_MATH: only f32 multiply-adds.
pub(super) const FMA: c_int = 3;
/// CUDNN_DETERMINISTIC.
const DETERMINISTIC: c_int = 1;

/// cudnnConvolutionFwdAlgoPerf_t, and its equals for the other passes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Found {
    pub algorithm: c_int,
    status: Status,
    ms: f32,
    /// Often zero although memory is needed; the function for it is called instead.
    memory: usize,
    determinism: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

impl Found {
    /// Whether the algorithm is supported and deterministic.
    pub fn repeats(&self) -> bool {
        self.status == SUCCESS && self.determinism == DETERMINISTIC
    }
}

/// Finds algorithms: two input tensors, the convolution, the output; the most algorithms.
pub(super) type Find =
    unsafe extern "C" fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut c_int, *mut Found) -> Status;
/// The bytes of workspace that an algorithm needs.
pub(super) type Workspace =
    unsafe extern "C" fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut usize) -> Status;
/// Enqueues a pass: a factor, two tensors and their addresses, the convolution, the algorithm, its
/// workspace, the factor of the old result, and the output.
pub(super) type Convolve = unsafe extern "C" fn(
    Raw,
    *const c_void,
    Raw,
    *const c_void,
    Raw,
    *const c_void,
    Raw,
    c_int,
    *mut c_void,
    usize,
    *const c_void,
    Raw,
    *mut c_void,
) -> Status;

functions! {
    version = "cudnnGetVersion": fn() -> usize;
    name_of = "cudnnGetErrorString": fn(Status) -> *const c_char;
    create = "cudnnCreate": fn(*mut Raw) -> Status;
    destroy = "cudnnDestroy": fn(Raw) -> Status;
    set_stream = "cudnnSetStream": fn(Raw, *mut c_void) -> Status;
    create_tensor = "cudnnCreateTensorDescriptor": fn(*mut Raw) -> Status;
    set_tensor = "cudnnSetTensor4dDescriptor":
        fn(Raw, c_int, c_int, c_int, c_int, c_int, c_int) -> Status;
    destroy_tensor = "cudnnDestroyTensorDescriptor": fn(Raw) -> Status;
    create_filter = "cudnnCreateFilterDescriptor": fn(*mut Raw) -> Status;
    set_filter = "cudnnSetFilter4dDescriptor":
        fn(Raw, c_int, c_int, c_int, c_int, c_int, c_int) -> Status;
    destroy_filter = "cudnnDestroyFilterDescriptor": fn(Raw) -> Status;
    create_convolution = "cudnnCreateConvolutionDescriptor": fn(*mut Raw) -> Status;
    set_convolution = "cudnnSetConvolution2dDescriptor":
        fn(Raw, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Status;
    set_groups = "cudnnSetConvolutionGroupCount": fn(Raw, c_int) -> Status;
    set_math = "cudnnSetConvolutionMathType": fn(Raw, c_int) -> Status;
    destroy_convolution = "cudnnDestroyConvolutionDescriptor": fn(Raw) -> Status;
    find_forward = "cudnnGetConvolutionForwardAlgorithm_v7":
        fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut c_int, *mut Found) -> Status;
    find_input = "cudnnGetConvolutionBackwardDataAlgorithm_v7":
        fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut c_int, *mut Found) -> Status;
    find_filter = "cudnnGetConvolutionBackwardFilterAlgorithm_v7":
        fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut c_int, *mut Found) -> Status;
    workspace_forward = "cudnnGetConvolutionForwardWorkspaceSize":
        fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut usize) -> Status;
    workspace_input = "cudnnGetConvolutionBackwardDataWorkspaceSize":
        fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut usize) -> Status;
    workspace_filter = "cudnnGetConvolutionBackwardFilterWorkspaceSize":
        fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut usize) -> Status;
    forward = "cudnnConvolutionForward":
        fn(
            Raw, *const c_void, Raw, *const c_void, Raw, *const c_void, Raw, c_int, *mut c_void,
            usize, *const c_void, Raw, *mut c_void
        ) -> Status;
    backward_input = "cudnnConvolutionBackwardData":
        fn(
            Raw, *const c_void, Raw, *const c_void, Raw, *const c_void, Raw, c_int, *mut c_void,
            usize, *const c_void, Raw, *mut c_void
        ) -> Status;
    backward_filter = "cudnnConvolutionBackwardFilter":
        fn(
            Raw, *const c_void, Raw, *const c_void, Raw, *const c_void, Raw, c_int, *mut c_void,
            usize, *const c_void, Raw, *mut c_void
        ) -> Status;
}

impl Vendor for Api {
    const TYPE: &'static str = "Cudnn";
    /// It loads its other parts from its own folder.
    const NAMES: &'static [&'static str] = &["libcudnn.so.9", "libcudnn.so"];
    const FROM: &'static str = "NVIDIA's cuDNN, or pip install nvidia-cudnn-cu13";
    /// Since 9, statuses and versions have the numbers that are used here.
    const LEAST: usize = 90_000;
    const LEAST_TEXT: &'static str = "9";
    type Functions = Functions;

    fn version(functions: &Functions) -> std::result::Result<usize, String> {
        // SAFETY: has no parameters.
        Ok(unsafe { (functions.version)() })
    }

    fn dotted(version: usize) -> String {
        // Before 9, major versions were multiples of 1000.
        let unit = if version < Self::LEAST { 1000 } else { 10_000 };
        format!("{}.{}.{}", version / unit, version % unit / 100, version % 100)
    }

    fn error(reason: String) -> Error {
        Error::Cudnn(reason)
    }

    fn failed(functions: &Functions, status: Status, what: &str) -> Error {
        // SAFETY: returns a constant text for any number.
        let name = text(unsafe { (functions.name_of)(status) });
        Error::Cudnn(format!("{what} ended with {name}"))
    }

    fn found() -> &'static FoundLibrary<Api> {
        static FOUND: FoundLibrary<Api> = FoundLibrary::new();
        &FOUND
    }
}

/// Whether this is CUDNN_STATUS_NOT_SUPPORTED or one of its variants.
pub(super) fn is_unsupported(status: Status) -> bool {
    status / 1000 == 3
}
