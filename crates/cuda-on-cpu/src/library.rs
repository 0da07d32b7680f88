//! Stand-ins for NVIDIA's libraries other than the driver.

use crate::compile;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::CString;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// How a stand-in behaves, and what it counts. Its source is `cpp/STEM.cpp`.
pub trait VendorBehaviour {
    /// The name of the source.
    const STEM: &'static str;
    /// The library's file name.
    const NAME: &'static str;
    /// What the stand-in counts.
    type Counts;

    /// The fields of STEM.cpp's `Behaviour` in their order; it reads no more words than it has.
    fn words(&self) -> [u64; 6];

    /// From the words that STEM.cpp counts; it writes no more than it has.
    fn counts(words: [u64; 3]) -> Self::Counts;
}

/// The stand-in for a library, which stays loaded as long as the process runs. The stand-in for
/// libcuda must be loaded before this one is used.
#[derive(Debug)]
pub struct VendorLibrary<B> {
    path: PathBuf,
    behave: unsafe extern "C" fn(*const u64),
    counts: unsafe extern "C" fn(*mut u64),
    _library: Library,
    behaviour: PhantomData<fn(B)>,
}

/// How a library reports that it does not support an operation.
#[derive(Clone, Copy, Debug)]
pub enum Unsupported {
    /// By the status of its search for algorithms.
    Status = 1,
    /// By finding no usable algorithm.
    NoneFound = 2,
    /// By its status when an algorithm is used.
    OnUse = 3,
}

impl<B: VendorBehaviour> VendorLibrary<B> {
    /// Builds and loads the stand-in.
    ///
    /// # Errors
    /// If it cannot be built, usually because g++ is missing.
    pub fn load() -> Result<VendorLibrary<B>, String> {
        let path = compile::library(B::STEM, B::NAME, &[])?;
        let broken = |error: libloading::Error| format!("{}: {error}", path.display());
        let symbol =
            |what| CString::new(format!("{}_on_cpu_{what}", B::STEM)).expect("a name without NUL");
        // SAFETY: the library is ours, and loading it does nothing.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
        let library = library.map_err(broken)?;
        // SAFETY: STEM.cpp defines both functions with these signatures.
        let (behave, counts) = unsafe {
            let behave = *library.get(symbol("behave")).map_err(broken)?;
            (behave, *library.get(symbol("counts")).map_err(broken)?)
        };
        Ok(VendorLibrary { path, behave, counts, _library: library, behaviour: PhantomData })
    }

    /// Builds a stand-in that lacks some functions, and returns its file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn without(functions: &[&str]) -> Result<PathBuf, String> {
        compile::library(B::STEM, B::NAME, functions)
    }

    /// The library's file, the only one in its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the behaviour towards the calling thread, and resets this thread's counts.
    pub fn behave(&self, behaviour: B) {
        // SAFETY: STEM.cpp copies its fields, at most six words, during the call.
        unsafe { (self.behave)(behaviour.words().as_ptr()) }
    }

    /// This thread's counts since [`behave`](Self::behave).
    pub fn counts(&self) -> B::Counts {
        let mut words = [0; 3];
        // SAFETY: STEM.cpp writes at most three words.
        unsafe { (self.counts)(words.as_mut_ptr()) };
        B::counts(words)
    }
}
