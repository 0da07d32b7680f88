//! The library: finding it, and its functions.

use crate::device::cuda::library::{Raw, SUCCESS, Status, Wanted, functions, text};
use crate::{Error, Result};
use libloading::os::unix::Library;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// The least cuDNN whose numbers of statuses and of its version are those below.
const LEAST: usize = 90_000;

/// What it is called. It loads the parts that it consists of from its own folder.
const WANTED: Wanted = Wanted {
    names: &["libcudnn.so.9", "libcudnn.so"],
    least: "9",
    from: "NVIDIA's cuDNN, or pip install nvidia-cudnn-cu13",
};

/// cuDNN, found when the program runs.
pub struct Cudnn {
    pub(super) functions: Functions,
    version: usize,
    // It stays loaded for as long as the process lives.
    _library: Library,
}

/// CUDNN_TENSOR_NHWC; for filters that is OHWI.
pub(super) const NHWC: c_int = 1;
/// CUDNN_DATA_FLOAT: what tensors are made of, and in what sums are.
pub(super) const FLOAT: c_int = 0;
/// CUDNN_CROSS_CORRELATION: filters are not turned over.
pub(super) const CROSS_CORRELATION: c_int = 1;
/// CUDNN_DEFAULT_MATH: floats may be multiplied in tf32, where tensor cores have that.
pub(super) const TF32: c_int = 0;
/// CUDNN_FMA_MATH: ordinary multiply-adds alone.
pub(super) const FMA: c_int = 3;
/// CUDNN_DETERMINISTIC.
const DETERMINISTIC: c_int = 1;

/// cudnnConvolutionFwdAlgoPerf_t, and those of the other passes, which are like it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Found {
    pub algorithm: c_int,
    status: Status,
    ms: f32,
    /// Often zero, where that is not so: the function for it is asked instead.
    memory: usize,
    determinism: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

impl Found {
    /// Whether it can be done, to the same bits every time.
    pub fn repeats(&self) -> bool {
        self.status == SUCCESS && self.determinism == DETERMINISTIC
    }
}

/// Looks for ways: the first two tensors, the convolution, the third; room for how many.
pub(super) type Find =
    unsafe extern "C" fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut c_int, *mut Found) -> Status;
/// The bytes of workspace that a way needs.
pub(super) type Workspace =
    unsafe extern "C" fn(Raw, Raw, Raw, Raw, Raw, c_int, *mut usize) -> Status;
/// Has the GPU do it: a factor, two tensors and where they lie, the convolution, the way, its
/// workspace, what the old result is multiplied by, and the third tensor.
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

impl Cudnn {
    /// The one that the system finds.
    ///
    /// # Errors
    /// [`Error::Cudnn`], with what to do: there is none, or it is too old.
    pub fn find() -> Result<&'static Cudnn> {
        static FOUND: OnceLock<std::result::Result<&'static Cudnn, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| WANTED.find(Cudnn::of));
        found.clone().map_err(Error::Cudnn)
    }

    /// The one in this file.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn open(path: &Path) -> Result<&'static Cudnn> {
        Wanted::open(path, Cudnn::of).map_err(Error::Cudnn)
    }

    fn of(library: Library, name: &str) -> std::result::Result<&'static Cudnn, String> {
        let old = |reason| WANTED.old(name, reason);
        let functions =
            Functions::of(&library).map_err(|missing| old(format!("has no `{missing}`")))?;
        // SAFETY: takes nothing.
        let version = unsafe { (functions.version)() };
        if version >= LEAST {
            Ok(Box::leak(Box::new(Cudnn { functions, version, _library: library })))
        } else {
            Err(old(format!("is version {}", dotted(version))))
        }
    }

    /// `9.19.0`.
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
        Error::Cudnn(format!("{what} ended with {name}"))
    }
}

/// Whether this says that something cannot be had: CUDNN_STATUS_NOT_SUPPORTED, or one of its kinds.
pub(super) fn is_unsupported(status: Status) -> bool {
    status / 1000 == 3
}

impl fmt::Debug for Cudnn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cudnn({})", self.version())
    }
}

/// Before 9 a version was counted in thousands.
fn dotted(version: usize) -> String {
    let unit = if version < LEAST { 1000 } else { 10_000 };
    format!("{}.{}.{}", version / unit, version % unit / 100, version % 100)
}
