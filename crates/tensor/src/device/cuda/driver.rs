//! The CUDA driver, and owners of its objects.
//!
//! Its bindings panic if the library or one of its functions is missing, so both are checked before
//! the first call.

use crate::{Error, Result};
use cudarc::driver::{DriverError, result, sys};
use std::env;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, OnceLock};

/// The minimum driver version, and its branch. Drivers of CUDA 12 load the kernels' PTX
/// ([`launch`](super::launch)).
const LEAST_VERSION: i32 = 12_000;
const LEAST_BRANCH: &str = "525";
/// The driver branch of CUDA 13.0, with which the kernels are built.
pub(super) const CURRENT_BRANCH: &str = "580";
/// The version of that branch.
pub(super) const CURRENT_VERSION: i32 = 13_000;
/// The minimum compute capability of the kernels.
const LEAST_CAPABILITY: (u32, u32) = (7, 5);

/// Every function that this program needs.
const FUNCTIONS: [&str; 42] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamQuery",
    "cuStreamWaitEvent",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventQuery",
    "cuEventElapsedTime",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuGraphUpload",
    "cuGraphLaunch",
    "cuGraphExecDestroy",
    "cuGraphDestroy",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
];

/// A GPU that this program can use.
#[derive(Debug)]
pub(super) struct Gpu {
    pub number: usize,
    pub name: String,
    pub capability: (u32, u32),
    /// Of the cache that all of it shares.
    pub l2_bytes: usize,
    device: sys::CUdevice,
}

/// Finds GPU `number`; the error is the reason why it cannot be used.
pub(super) fn find(number: usize) -> std::result::Result<Gpu, String> {
    // SAFETY: looking for the library only loads it.
    if !unsafe { sys::is_culib_present() } {
        return Err("no NVIDIA driver is installed here (there is no libcuda)".to_string());
    }
    check_functions(&FUNCTIONS[..2])?;
    check_version()?;
    check_functions(&FUNCTIONS)?;
    result::init().map_err(no_gpu)?;
    let count = result::device::get_count().map_err(no_gpu)? as usize;
    if number >= count {
        return Err(match count {
            0 => no_gpu(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)),
            1 => "there is one GPU, number 0".to_string(),
            _ => format!("there are {count} GPUs, numbered from 0"),
        });
    }
    let device = result::device::get(number as c_int).map_err(sentence)?;
    let attribute = |wanted| {
        // SAFETY: the device was got just above.
        unsafe { result::device::get_attribute(device, wanted) }.map_err(sentence)
    };
    use sys::CUdevice_attribute as A;
    let major = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? as u32;
    let minor = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)? as u32;
    let l2_bytes = attribute(A::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)? as usize;
    let name = result::device::get_name(device).map_err(sentence)?;
    if (major, minor) < LEAST_CAPABILITY {
        let (least_major, least_minor) = LEAST_CAPABILITY;
        return Err(format!(
            "the {name} has compute capability {major}.{minor}; {least_major}.{least_minor} is the \
             least that this program's kernels are built for"
        ));
    }
    Ok(Gpu { number, name, capability: (major, minor), l2_bytes, device })
}

/// Whether the driver has this function; the library is present.
fn has_function(name: &str) -> bool {
    // SAFETY: the library is present; the pointer is not called.
    unsafe { sys::culib().get::<*const c_void>(name.as_bytes()) }.is_ok()
}

/// Whether the driver has the functions that CUDA 12.4 added: `cuFuncGetParamInfo` and
/// `cuFuncLoad`.
pub(super) fn has_function_queries() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| ["cuFuncGetParamInfo", "cuFuncLoad"].into_iter().all(has_function))
}

fn check_functions(names: &[&str]) -> std::result::Result<(), String> {
    for name in names {
        if !has_function(name) {
            return Err(format!(
                "the NVIDIA driver has no `{name}`: update it to {LEAST_BRANCH} or newer"
            ));
        }
    }
    Ok(())
}

/// The CUDA version of the driver, as an integer; the function exists.
pub(super) fn version() -> std::result::Result<i32, String> {
    let mut version = 0;
    // SAFETY: the function exists, and writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(sentence)?;
    Ok(version)
}

/// `13.0`.
pub(super) fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn check_version() -> std::result::Result<(), String> {
    let version = version()?;
    let [has, needs] = [version, LEAST_VERSION].map(dotted);
    if version >= LEAST_VERSION {
        Ok(())
    } else {
        Err(format!(
            "the NVIDIA driver is made for CUDA {has}, and this program needs {needs}: update it \
         to {LEAST_BRANCH} or newer"
        ))
    }
}

/// The reason why the driver finds no GPU.
fn no_gpu(error: DriverError) -> String {
    let visible = env::var("CUDA_VISIBLE_DEVICES");
    match (error.0, visible.as_deref()) {
        (sys::CUresult::CUDA_ERROR_NO_DEVICE, Ok("")) => {
            "CUDA_VISIBLE_DEVICES is empty, which hides every GPU: unset it".to_string()
        }
        (sys::CUresult::CUDA_ERROR_NO_DEVICE, Ok(shown)) => {
            format!("there is no GPU that CUDA_VISIBLE_DEVICES={shown} shows")
        }
        (sys::CUresult::CUDA_ERROR_NO_DEVICE, Err(_)) => "there is no NVIDIA GPU".to_string(),
        _ => sentence(error),
    }
}

/// The driver's text for an error.
pub(super) fn sentence(error: DriverError) -> String {
    let text = |text: std::result::Result<&std::ffi::CStr, DriverError>| match text {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => "an error that it has no name for".to_string(),
    };
    format!("the driver reports {} ({})", text(error.error_string()), text(error.error_name()))
}

/// Converts an error of the driver.
pub(super) fn failed(what: &str) -> impl Fn(DriverError) -> Error {
    move |error| Error::Gpu { what: what.to_string(), reason: sentence(error) }
}

/// Converts an asynchronous error: the failed kernel is unknown.
fn failed_unseen(what: &str) -> impl Fn(DriverError) -> Error {
    let hint = "; with CUDA_LAUNCH_BLOCKING=1 in the environment the kernel is named";
    let hint = if blocking() { "" } else { hint };
    move |error| Error::Gpu { what: what.to_string(), reason: sentence(error) + hint }
}

/// Whether to wait for every launch, so that a failing kernel is named: the driver's variable
/// CUDA_LAUNCH_BLOCKING=1.
pub(super) fn blocking() -> bool {
    static BLOCKING: OnceLock<bool> = OnceLock::new();
    *BLOCKING.get_or_init(|| env::var("CUDA_LAUNCH_BLOCKING").is_ok_and(|value| value == "1"))
}

/// Free bytes of the current context's GPU.
pub(super) fn free_memory() -> Result<usize> {
    result::mem_get_info().map(|(free, _)| free).map_err(failed("asking for free memory"))
}

/// The GPU's primary context.
#[derive(Debug)]
pub(super) struct Context {
    context: sys::CUcontext,
    device: sys::CUdevice,
}

// SAFETY: the driver's functions may be called from any thread that has bound the context.
unsafe impl Send for Context {}
// SAFETY: as above; a context is only bound, never changed.
unsafe impl Sync for Context {}

impl Context {
    pub fn of(gpu: &Gpu) -> std::result::Result<Arc<Context>, String> {
        let device = gpu.device;
        // SAFETY: the device is one that the driver gave out.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(sentence)?;
        let context = Arc::new(Context { context, device });
        context.bind().map_err(|error| error.to_string())?;
        Ok(context)
    }

    /// Whether both belong to one GPU.
    pub fn is(&self, other: &Context) -> bool {
        self.context == other.context
    }

    /// Makes this context current on this thread.
    pub fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as this value.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("binding the context"))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, released once. A failure cannot be handled.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// A CUDA stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub raw: sys::CUstream,
    _context: Arc<Context>,
}

// SAFETY: a stream belongs to a context, not to a thread.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver supports concurrent queries.
unsafe impl Sync for Stream {}

/// Converts the result of a query.
pub(super) fn is_reached(answer: sys::CUresult) -> std::result::Result<bool, DriverError> {
    match answer {
        sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
        other => other.result().map(|()| true),
    }
}

impl Stream {
    pub fn new(context: &Arc<Context>) -> Result<Stream> {
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking);
        Ok(Stream { raw: raw.map_err(failed("making a stream"))?, _context: context.clone() })
    }

    /// Waits for all work; `what` names it in errors.
    pub fn synchronize(&self, what: &str) -> Result<()> {
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.raw) }.map_err(failed_unseen(what))
    }

    /// Whether all work is complete; `what` names it in errors.
    pub fn is_idle(&self, what: &str) -> Result<bool> {
        // SAFETY: the stream is alive.
        is_reached(unsafe { sys::cuStreamQuery(self.raw) }).map_err(failed_unseen(what))
    }

    /// Sets `bytes` bytes at `address` to `value`.
    ///
    /// # Safety
    /// They are device memory, and stay allocated until the operation is complete.
    pub unsafe fn fill(&self, address: u64, value: u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { result::memset_d8_async(address, value, bytes, self.raw) }
            .map_err(failed("filling memory"))
    }

    /// Copies host memory to `to` after all earlier work, and waits: drivers may read pageable
    /// memory after the call returns. Asynchronous uploads use pinned memory
    /// ([`Staging`](super::staging::Staging)).
    ///
    /// # Safety
    /// As many bytes from `to` on are device memory.
    pub unsafe fn write(&self, to: u64, host: &[u8]) -> Result<()> {
        if host.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller's promise; the host's memory is borrowed until the wait is over.
        let copy = unsafe { result::memcpy_htod_async(to, host, self.raw) };
        let waited = self.synchronize("an upload");
        copy.map_err(failed("an upload"))?;
        waited
    }

    /// Copies from `from` into host memory after all earlier work, and waits.
    ///
    /// # Safety
    /// As many bytes from `from` on are device memory.
    pub unsafe fn read(&self, from: u64, host: &mut [u8]) -> Result<()> {
        if host.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller's promise; the host's memory is borrowed until the wait is over.
        let copy = unsafe { result::memcpy_dtoh_async(host, from, self.raw) };
        let waited = self.synchronize("a kernel, or the download after it,");
        copy.map_err(failed("a download"))?;
        waited
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once; pending work completes first.
        unsafe {
            let _ = result::stream::synchronize(self.raw);
            let _ = result::stream::destroy(self.raw);
        }
    }
}

/// Device memory.
#[derive(Debug)]
pub(super) struct Memory {
    base: u64,
    bytes: usize,
    _context: Arc<Context>,
}

impl Memory {
    pub fn new(context: &Arc<Context>, bytes: usize) -> std::result::Result<Memory, DriverError> {
        // SAFETY: freed once, below. The driver refuses empty allocations.
        let base = unsafe { result::malloc_sync(bytes.max(1)) }?;
        Ok(Memory { base, bytes, _context: context.clone() })
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once, after the owner has waited for the stream.
        let _ = unsafe { result::free_sync(self.base) };
    }
}

#[cfg(test)]
mod tests;
