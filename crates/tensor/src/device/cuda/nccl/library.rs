//! The library: finding it, and its functions.

use crate::device::cuda::library::{Wanted, functions, text};
use crate::{Error, Result};
use libloading::os::unix::Library;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// The least NCCL that is known to do what is asked of it here, as it counts its versions.
const LEAST: c_int = 21_800;

/// What it is called: with the version of its interface, as it is installed, or as those who build
/// with it call it.
const WANTED: Wanted = Wanted {
    names: &["libnccl.so.2", "libnccl.so"],
    least: "2.18",
    from: "NVIDIA's package libnccl2, or pip install nvidia-nccl-cu13",
};

/// NCCL, found when the program runs.
pub struct Nccl {
    pub(super) functions: Functions,
    version: c_int,
    // It stays loaded for as long as the process lives: threads of its own may still run.
    _library: Library,
}

/// A communicator as NCCL has it.
pub(super) type Raw = *mut c_void;
/// What every call gives back; it may be a value that a later version has added.
pub(super) type Status = c_int;

pub(super) const SUCCESS: Status = 0;
pub(super) const IN_PROGRESS: Status = 7;
/// ncclFloat32, and ncclSum.
pub(super) const FLOAT: c_int = 7;
pub(super) const SUM: c_int = 0;

/// What all ranks of a communicator have in common: rank 0 makes it, the others are told.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Id([u8; Id::BYTES]);

impl Id {
    /// How long it is.
    pub const BYTES: usize = 128;

    /// For sending it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What was sent; nothing if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id(..)") // 128 bytes that say nothing
    }
}

/// The part of ncclConfig_t that NCCL 2.18 knows; later ones read no more than `size` of it.
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
    /// Calls return at once, so that no rank is ever stuck inside one.
    pub(super) fn nonblocking() -> Config {
        const UNDEFINED: c_int = c_int::MIN;
        Config {
            size: size_of::<Config>(),
            magic: 0xCAFE_BEEF,
            version: LEAST as u32,
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

impl Nccl {
    /// The one that the system finds.
    ///
    /// # Errors
    /// [`Error::Nccl`], with what to do: there is none, or it is too old.
    pub fn find() -> Result<&'static Nccl> {
        static FOUND: OnceLock<std::result::Result<&'static Nccl, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| WANTED.find(Nccl::of));
        found.clone().map_err(Error::Nccl)
    }

    /// The one in this file.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn open(path: &Path) -> Result<&'static Nccl> {
        Wanted::open(path, Nccl::of).map_err(Error::Nccl)
    }

    fn of(library: Library, name: &str) -> std::result::Result<&'static Nccl, String> {
        let old = |reason| WANTED.old(name, reason);
        let functions =
            Functions::of(&library).map_err(|missing| old(format!("has no `{missing}`")))?;
        let mut version = 0;
        // SAFETY: writes one number.
        let status = unsafe { (functions.version)(&mut version) };
        if status != SUCCESS {
            return Err(format!(
                "{name} does not tell its version: {}",
                functions.sentence(status)
            ));
        }
        if version >= LEAST {
            Ok(Box::leak(Box::new(Nccl { functions, version, _library: library })))
        } else {
            Err(old(format!("is version {}", dotted(version))))
        }
    }

    /// `2.28.9`.
    pub fn version(&self) -> String {
        dotted(self.version)
    }

    /// What the ranks of a new communicator will have in common.
    ///
    /// # Errors
    /// [`Error::Nccl`] if no network can be used.
    pub fn new_id(&self) -> Result<Id> {
        let mut id = Id([0; Id::BYTES]);
        // SAFETY: writes as many bytes as an id has.
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
    /// What NCCL calls a status.
    pub(super) fn sentence(&self, status: Status) -> String {
        // SAFETY: a constant text for any number.
        text(unsafe { (self.error_string)(status) })
    }

    /// The same, and what it noted about the last that failed.
    pub(super) fn reason(&self, status: Status) -> String {
        // SAFETY: without a communicator it is this process's last failure; a text that stays.
        let last = text(unsafe { (self.last_error)(std::ptr::null_mut()) });
        let last = last.lines().map(str::trim).rfind(|line| !line.is_empty());
        match last {
            Some(last) => format!("{} ({last})", self.sentence(status)),
            None => self.sentence(status),
        }
    }
}

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nccl({})", self.version())
    }
}

fn dotted(version: c_int) -> String {
    // Until 2.8 there were two digits fewer.
    let (major, rest) = if version < 10_000 { (1_000, 100) } else { (10_000, 100) };
    format!("{}.{}.{}", version / major, version % major / rest, version % rest)
}
