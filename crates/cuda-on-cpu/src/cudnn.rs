//! A stand-in for cuDNN.

use crate::compile;
use crate::library::Loaded;
use std::path::{Path, PathBuf};

/// How it behaves to the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct CudnnBehaviour {
    /// Its version, as cuDNN counts: 91900 is 9.19.0, and 8904 is 8.9.4.
    pub version: u64,
    /// The call that fails, counted from one after [`Cudnn::behave`]; what destroys something does
    /// not count.
    pub failing_call: Option<u64>,
    /// How it says that there is no way to make any convolution, if it does.
    pub knows_no_way: Option<NoConvolution>,
}

/// How a library says that it has no way to make a convolution.
#[derive(Clone, Copy, Debug)]
pub enum NoConvolution {
    /// By its status.
    Unsupported,
    /// By finding none that will do.
    NoneFound,
    /// Where it is tried.
    InVain,
}

impl Default for CudnnBehaviour {
    fn default() -> CudnnBehaviour {
        CudnnBehaviour { version: 91_900, failing_call: None, knows_no_way: None }
    }
}

/// What was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudnnCounts {
    /// Calls by this thread since [`Cudnn::behave`], but those that destroy something.
    pub calls: u64,
    /// Passes of convolutions among them, recorded or on their way.
    pub convolutions: u64,
    /// What this thread has created and not destroyed.
    pub alive: u64,
}

/// As cudnn.cpp has it.
#[derive(Debug)]
#[repr(C)]
struct RawBehaviour {
    version: u64,
    failing_call: u64,
    knows_no_way: u64,
}

/// A library that was built, and stays loaded for as long as the process lives. It needs the
/// stand-in for libcuda, which must be loaded before it is used.
#[derive(Debug)]
pub struct Cudnn(Loaded<RawBehaviour>);

/// What the system knows it by.
const NAME: &str = "libcudnn.so.9";

impl Cudnn {
    /// Builds and loads it.
    ///
    /// # Errors
    /// Why there is none: no g++.
    pub fn load() -> Result<Cudnn, String> {
        Loaded::open("cudnn", NAME).map(Cudnn)
    }

    /// Where there is one that lacks some functions.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn without(functions: &[&str]) -> Result<PathBuf, String> {
        compile::library("cudnn", NAME, functions)
    }

    /// Its file, `libcudnn.so.9`, alone in its folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// From now on, and to this thread, it behaves so. Counting starts again.
    pub fn behave(&self, behaviour: CudnnBehaviour) {
        self.0.behave(&RawBehaviour {
            version: behaviour.version,
            failing_call: behaviour.failing_call.unwrap_or(0),
            knows_no_way: match behaviour.knows_no_way {
                None => 0,
                Some(NoConvolution::Unsupported) => 1,
                Some(NoConvolution::NoneFound) => 2,
                Some(NoConvolution::InVain) => 3,
            },
        });
    }

    /// What this thread has asked for.
    pub fn counts(&self) -> CudnnCounts {
        let [calls, convolutions, alive] = self.0.counts();
        CudnnCounts { calls, convolutions, alive }
    }
}
