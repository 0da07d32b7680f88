//! A stand-in for NCCL, whose ranks are threads or processes of one host.

use crate::compile;
use crate::library::Loaded;
use std::ffi::c_int;
use std::path::{Path, PathBuf};

/// How it behaves to the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct NcclBehaviour {
    /// Its version, as NCCL counts: 22809 is 2.28.9.
    pub version: u32,
    /// The call that fails, counted from one after [`Nccl::behave`]: all that begin or end
    /// something count alike.
    pub failing_call: Option<u64>,
    /// Which time it is asked how things stand that it tells of a failure.
    pub failing_look: Option<u64>,
}

impl Default for NcclBehaviour {
    fn default() -> NcclBehaviour {
        NcclBehaviour { version: 22_809, failing_call: None, failing_look: None }
    }
}

/// As nccl.cpp has it.
#[derive(Debug)]
#[repr(C)]
struct RawBehaviour {
    version: c_int,
    failing_call: u64,
    failing_look: u64,
}

/// A library that was built, and stays loaded for as long as the process lives. It needs the
/// stand-in for libcuda, which must be loaded before it is used.
#[derive(Debug)]
pub struct Nccl(Loaded<RawBehaviour>);

/// What the system knows it by.
const NAME: &str = "libnccl.so.2";

impl Nccl {
    /// Builds and loads it.
    ///
    /// # Errors
    /// Why there is none: no g++.
    pub fn load() -> Result<Nccl, String> {
        Loaded::open("nccl", NAME).map(Nccl)
    }

    /// Where there is one that lacks some functions.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn without(functions: &[&str]) -> Result<PathBuf, String> {
        compile::library("nccl", NAME, functions)
    }

    /// Its file, `libnccl.so.2`, alone in its folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// From now on, and to this thread, it behaves so. Counting starts again.
    pub fn behave(&self, behaviour: NcclBehaviour) {
        let raw = RawBehaviour {
            version: behaviour.version as c_int,
            failing_call: behaviour.failing_call.unwrap_or(0),
            failing_look: behaviour.failing_look.unwrap_or(0),
        };
        self.0.behave(&raw);
    }

    /// Calls that begin or end something, and questions how things stand, by this thread since
    /// [`behave`](Self::behave).
    pub fn counts(&self) -> [u64; 2] {
        self.0.counts()
    }
}
