//! Stand-ins for other libraries than the driver: what they have in common.

use crate::compile;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// A library that was built from `cpp/STEM.cpp`, and stays loaded for as long as the process lives.
/// It needs the stand-in for libcuda, which must be loaded before it is used. `B` is what it is
/// told of how to behave.
#[derive(Debug)]
pub(crate) struct Loaded<B> {
    path: PathBuf,
    behave: unsafe extern "C" fn(*const B),
    counts: unsafe extern "C" fn(*mut u64),
    _library: Library,
}

impl<B> Loaded<B> {
    /// Builds and loads it; `name` is what the system knows it by.
    ///
    /// # Errors
    /// Why there is none: no g++.
    pub fn open(stem: &str, name: &str) -> Result<Loaded<B>, String> {
        let path = compile::library(stem, name, &[])?;
        let broken = |error: libloading::Error| format!("{}: {error}", path.display());
        let symbol = |what: &str| CString::new(format!("{stem}_on_cpu_{what}")).expect("no NUL");
        // SAFETY: the library is ours, and loading it does nothing.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
        let library = library.map_err(broken)?;
        // SAFETY: the functions are STEM.cpp's, with these very signatures.
        let (behave, counts) = unsafe {
            let behave = *library.get(symbol("behave")).map_err(broken)?;
            (behave, *library.get(symbol("counts")).map_err(broken)?)
        };
        Ok(Loaded { path, behave, counts, _library: library })
    }

    /// Its file, alone in its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on, and to this thread, it behaves so. Counting starts again.
    pub fn behave(&self, behaviour: &B) {
        // SAFETY: STEM.cpp has the same record, and copies it during the call.
        unsafe { (self.behave)(behaviour) }
    }

    /// What it counts; so many numbers as STEM.cpp says.
    pub fn counts<const N: usize>(&self) -> [u64; N] {
        let mut counts = [0; N];
        // SAFETY: STEM.cpp writes N numbers.
        unsafe { (self.counts)(counts.as_mut_ptr()) };
        counts
    }
}
