//! NCCL's functions and constants.

use crate::device::cuda::library::{FoundLibrary, Vendor, VendorLibrary, functions, text};
pub(super) use crate::device::cuda::library::{Raw, SUCCESS, Status};
use crate::{Error, Result};
use std::ffi::{c_char, c_int, c_void};
use std::fmt;

/// NCCL, loaded at run time.
pub type Nccl = VendorLibrary<Api>;

/// NCCL's functions.
#[derive(Debug)]
pub struct Api;

pub(super) const IN_PROGRESS: Status = 7;
/// ncclFloat32, and ncclSum.
pub(super) const FLOAT: c_int = 7;
pub(super) const SUM: c_int = 0;

/// The id of a communicator: rank 0 creates it and sends it to the other ranks.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Id([u8; Id::BYTES]);

impl Id {
    /// Its length.
    pub const BYTES: usize = 128;

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From received bytes; `None` if their number is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id(..)")
    }
}

/// ncclConfig_t of NCCL 2.18; later versions read only `size` bytes of it.
#[repr(C)]
pub(super) struct Config {
    size: usize,
    magic: u32,
    version: u32,
    pub(super) blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
    split_share: c_int,
    /// Padding in 2.18, and a setting since 2.26.
    traffic_class: c_int,
}

impl Config {
    /// Calls return at once, so that a rank never blocks inside NCCL.
    pub(super) fn nonblocking() -> Config {
        const UNDEFINED: c_int = c_int::MIN;
        Config {
            size: size_of::<Config>(),
            magic: 0xCAFE_BEEF,
            version: Api::LEAST as u32,
            blocking: 0,
            cga_cluster_size: UNDEFINED,
            min_ctas: UNDEFINED,
            max_ctas: UNDEFINED,
            net_name: std::ptr::null(),
            split_share: UNDEFINED,
            traffic_class: UNDEFINED,
        }
    }
}

functions! {
    version = "ncclGetVersion": fn(*mut c_int) -> Status;
    error_string = "ncclGetErrorString": fn(Status) -> *const c_char;
    last_error = "ncclGetLastError": fn(Raw) -> *const c_char;
    unique_id = "ncclGetUniqueId": fn(*mut Id) -> Status;
    init = "ncclCommInitRankConfig": fn(*mut Raw, c_int, Id, c_int, *mut Config) -> Status;
    finalize = "ncclCommFinalize": fn(Raw) -> Status;
    destroy = "ncclCommDestroy": fn(Raw) -> Status;
    abort = "ncclCommAbort": fn(Raw) -> Status;
    async_error = "ncclCommGetAsyncError": fn(Raw, *mut Status) -> Status;
    group_start = "ncclGroupStart": fn() -> Status;
    group_end = "ncclGroupEnd": fn() -> Status;
    all_reduce = "ncclAllReduce":
        fn(*const c_void, *mut c_void, usize, c_int, c_int, Raw, *mut c_void) -> Status;
    reduce_scatter = "ncclReduceScatter":
        fn(*const c_void, *mut c_void, usize, c_int, c_int, Raw, *mut c_void) -> Status;
    all_gather = "ncclAllGather":
        fn(*const c_void, *mut c_void, usize, c_int, Raw, *mut c_void) -> Status;
    broadcast = "ncclBroadcast":
        fn(*const c_void, *mut c_void, usize, c_int, c_int, Raw, *mut c_void) -> Status;
    send = "ncclSend": fn(*const c_void, usize, c_int, c_int, Raw, *mut c_void) -> Status;
    recv = "ncclRecv": fn(*mut c_void, usize, c_int, c_int, Raw, *mut c_void) -> Status;
}

impl Vendor for Api {
    const TYPE: &'static str = "Nccl";
    const NAMES: &'static [&'static str] = &["libnccl.so.2", "libnccl.so"];
    const FROM: &'static str = "NVIDIA's package libnccl2, or pip install nvidia-nccl-cu13";
    const LEAST: usize = 21_800;
    const LEAST_TEXT: &'static str = "2.18";
    type Functions = Functions;

    fn version(functions: &Functions) -> std::result::Result<usize, String> {
        let mut version = 0;
        // SAFETY: writes one integer.
        let status = unsafe { (functions.version)(&mut version) };
        if status == SUCCESS {
            Ok(usize::try_from(version).unwrap_or(0))
        } else {
            Err(functions.sentence(status))
        }
    }

    fn dotted(version: usize) -> String {
        // Until 2.8, major versions were multiples of 1000.
        let major = if version < 10_000 { 1_000 } else { 10_000 };
        format!("{}.{}.{}", version / major, version % major / 100, version % 100)
    }

    fn error(reason: String) -> Error {
        Error::Nccl(reason)
    }

    fn failed(functions: &Functions, status: Status, what: &str) -> Error {
        let reason = format!("it reports {}", functions.reason(status));
        Error::Gpu { what: format!("NCCL's {what}"), reason }
    }

    fn found() -> &'static FoundLibrary<Api> {
        static FOUND: FoundLibrary<Api> = FoundLibrary::new();
        &FOUND
    }
}

impl Nccl {
    /// Creates the id of a new communicator.
    ///
    /// # Errors
    /// [`Error::Nccl`] if no network can be used.
    pub fn new_id(&self) -> Result<Id> {
        let mut id = Id([0; Id::BYTES]);
        // SAFETY: writes the bytes of an id.
        let status = unsafe { (self.functions.unique_id)(&mut id) };
        match status {
            SUCCESS => Ok(id),
            _ => {
                Err(Error::Nccl(format!("a rendezvous failed: {}", self.functions.reason(status))))
            }
        }
    }
}

impl Functions {
    /// NCCL's text for a status.
    pub(super) fn sentence(&self, status: Status) -> String {
        // SAFETY: returns a constant text for any number.
        text(unsafe { (self.error_string)(status) })
    }

    /// The same with NCCL's details about the last failure.
    pub(super) fn reason(&self, status: Status) -> String {
        // SAFETY: a null communicator requests the process's last failure; the text stays valid.
        let last = text(unsafe { (self.last_error)(std::ptr::null_mut()) });
        let last = last.lines().map(str::trim).rfind(|line| !line.is_empty());
        match last {
            Some(last) => format!("{} ({last})", self.sentence(status)),
            None => self.sentence(status),
        }
    }
}
