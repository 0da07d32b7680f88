//! A stand-in for cuBLASLt.

use crate::compile;
use crate::library::Loaded;
use std::path::{Path, PathBuf};

/// How it behaves to the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct CublasLtBehaviour {
    /// Its version, as cuBLASLt counts: 130100 is 13.1.0.
    pub version: u64,
    /// The call that fails, counted from one after [`CublasLt::behave`]; what destroys something
    /// does not count.
    pub failing_call: Option<u64>,
    /// How it says that there is no way to make any product, if it does.
    pub knows_no_way: Option<NoWay>,
    /// How many ways it finds, if it is asked for as many; each has other bits. `None`: one, or
    /// what `cublaslt_ways=N` in `CUDA_ON_CPU` says.
    pub ways: Option<u64>,
    /// The way that cannot be gone, counted from nought; or `cublaslt_failing_way`, from one.
    pub failing_way: Option<u64>,
    /// The way that comes to something else; or `cublaslt_wrong_way`.
    pub wrong_way: Option<u64>,
}

/// How a library says that it has no way to make a product.
#[derive(Clone, Copy, Debug)]
pub enum NoWay {
    /// By its status.
    Unsupported,
    /// By finding none.
    NoneFound,
}

impl Default for CublasLtBehaviour {
    fn default() -> CublasLtBehaviour {
        CublasLtBehaviour {
            version: 130_100,
            failing_call: None,
            knows_no_way: None,
            ways: None,
            failing_way: None,
            wrong_way: None,
        }
    }
}

/// What was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CublasLtCounts {
    /// Calls by this thread since [`CublasLt::behave`], but those that destroy something.
    pub calls: u64,
    /// Products among them, recorded or on their way.
    pub products: u64,
    /// What this thread has created and not destroyed.
    pub alive: u64,
}

/// As cublaslt.cpp has it.
#[derive(Debug)]
#[repr(C)]
struct RawBehaviour {
    version: u64,
    failing_call: u64,
    knows_no_way: u64,
    ways: u64,
    failing_way: u64,
    wrong_way: u64,
}

/// A library that was built, and stays loaded for as long as the process lives. It needs the
/// stand-in for libcuda, which must be loaded before it is used.
#[derive(Debug)]
pub struct CublasLt(Loaded<RawBehaviour>);

/// What the system knows it by.
const NAME: &str = "libcublasLt.so.13";

impl CublasLt {
    /// Builds and loads it.
    ///
    /// # Errors
    /// Why there is none: no g++.
    pub fn load() -> Result<CublasLt, String> {
        Loaded::open("cublaslt", NAME).map(CublasLt)
    }

    /// Where there is one that lacks some functions.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn without(functions: &[&str]) -> Result<PathBuf, String> {
        compile::library("cublaslt", NAME, functions)
    }

    /// Its file, `libcublasLt.so.13`, alone in its folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// From now on, and to this thread, it behaves so. Counting starts again.
    pub fn behave(&self, behaviour: CublasLtBehaviour) {
        let raw = RawBehaviour {
            version: behaviour.version,
            failing_call: behaviour.failing_call.unwrap_or(0),
            knows_no_way: match behaviour.knows_no_way {
                None => 0,
                Some(NoWay::Unsupported) => 1,
                Some(NoWay::NoneFound) => 2,
            },
            ways: behaviour.ways.unwrap_or(0),
            failing_way: behaviour.failing_way.map_or(0, |way| way + 1),
            wrong_way: behaviour.wrong_way.map_or(0, |way| way + 1),
        };
        self.0.behave(&raw);
    }

    /// What this thread has asked for.
    pub fn counts(&self) -> CublasLtCounts {
        let [calls, products, alive] = self.0.counts();
        CublasLtCounts { calls, products, alive }
    }
}
