//! NVIDIA's libraries NCCL, cuBLASLt and cuDNN, loaded at run time.

use crate::Error;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

/// A library's handle or descriptor.
pub(super) type Raw = *mut c_void;
/// The result of every call; later versions may add values.
pub(super) type Status = c_int;

/// Success, in all these libraries.
pub(super) const SUCCESS: Status = 0;

/// A handle or descriptor that is destroyed on drop.
#[derive(Debug)]
pub(super) struct Handle {
    pub raw: Raw,
    destroy: unsafe extern "C" fn(Raw) -> Status,
}

// SAFETY: handles and descriptors are not tied to a thread, and are used by one thread at a time.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once. An error could not be handled any more.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}

/// A record of a library's functions, defined by [`functions`].
pub trait Table: Sized + Send + Sync + 'static {
    /// Looks the functions up; an `Err` is the name of a missing one.
    fn of(library: &Library) -> Result<Self, &'static str>;
}

/// Defines `Functions`, a record of a library's functions with their types from its header.
macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// The library's functions, with their types from its header.
        #[derive(Debug)]
        pub struct Functions {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl $crate::device::cuda::library::Table for Functions {
            fn of(
                library: &libloading::os::unix::Library,
            ) -> std::result::Result<Functions, &'static str> {
                Ok(Functions {
                    $($field: {
                        // SAFETY: the header declares the function with this type in every version
                        // since `LEAST`; it is called only while the library is loaded.
                        let found = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) -> $result>($name)
                        };
                        *found.map_err(|_| $name)?
                    },)*
                })
            }
        }
    };
}
pub(super) use functions;

/// One of the libraries: where to find it, and what [`VendorLibrary`] has to know about it.
pub trait Vendor: Sized + 'static {
    /// The type's name, for `Debug`.
    const TYPE: &'static str;
    /// Its possible file names, in order of preference.
    const NAMES: &'static [&'static str];
    /// Where to get it: `NVIDIA's cuDNN, or pip install nvidia-cudnn-cu13`.
    const FROM: &'static str;
    /// The least supported version, as the library encodes it.
    const LEAST: usize;
    /// The same for people.
    const LEAST_TEXT: &'static str;
    /// The functions of the library that are used.
    type Functions: Table;

    /// The library's version, as it encodes it; an `Err` is the reason why it returns none.
    fn version(functions: &Self::Functions) -> Result<usize, String>;

    /// A version as `major.minor.patch`.
    fn dotted(version: usize) -> String;

    /// The error for a library that cannot be used.
    fn error(reason: String) -> Error;

    /// The error of `what`, which ended with `status`.
    fn failed(functions: &Self::Functions, status: Status, what: &str) -> Error;

    /// Where the result of [`VendorLibrary::find`] is kept.
    fn found() -> &'static FoundLibrary<Self>;
}

/// The result of [`VendorLibrary::find`].
pub type FoundLibrary<V> = OnceLock<Result<&'static VendorLibrary<V>, String>>;

/// A library that was loaded at run time. It stays loaded as long as the process runs, since its
/// own threads may use it until then.
pub struct VendorLibrary<V: Vendor> {
    pub(super) functions: V::Functions,
    version: usize,
    _library: Library,
}

impl<V: Vendor> VendorLibrary<V> {
    /// Loads the library that the system finds under one of its names.
    ///
    /// # Errors
    /// If there is none, or it is too old; the error says what to install.
    pub fn find() -> crate::Result<&'static Self> {
        V::found().get_or_init(Self::search).clone().map_err(V::error)
    }

    /// Loads the library from this file.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn open(path: &Path) -> crate::Result<&'static Self> {
        let library = load(path.as_os_str());
        library.and_then(|library| Self::of(library, &path.to_string_lossy())).map_err(V::error)
    }

    fn search() -> Result<&'static Self, String> {
        // The error of the preferred name is the most useful one.
        let mut reason = String::new();
        for name in V::NAMES {
            match load(name.as_ref()) {
                Ok(library) => return Self::of(library, name),
                Err(error) if reason.is_empty() => reason = error,
                Err(_) => {}
            }
        }
        Err(format!(
            "{reason}; install it ({} and the folder of its {} in LD_LIBRARY_PATH)",
            V::FROM,
            V::NAMES[0]
        ))
    }

    fn of(library: Library, name: &str) -> Result<&'static Self, String> {
        let old = |reason| format!("{name} {reason}: update it to {} or newer", V::LEAST_TEXT);
        let functions =
            V::Functions::of(&library).map_err(|missing| old(format!("has no `{missing}`")))?;
        let version = V::version(&functions)
            .map_err(|reason| format!("{name} does not report its version: {reason}"))?;
        if version >= V::LEAST {
            Ok(Box::leak(Box::new(VendorLibrary { functions, version, _library: library })))
        } else {
            Err(old(format!("is version {}", V::dotted(version))))
        }
    }

    /// The library's version: `12.9.1`.
    pub fn version(&self) -> String {
        V::dotted(self.version)
    }

    /// An error if `what` has failed.
    pub(super) fn check(&self, status: Status, what: &str) -> crate::Result<()> {
        if status == SUCCESS { Ok(()) } else { Err(V::failed(&self.functions, status, what)) }
    }

    /// A handle or descriptor for `what`, which `create` writes.
    pub(super) fn create(
        &self,
        what: &str,
        destroy: unsafe extern "C" fn(Raw) -> Status,
        create: impl FnOnce(*mut Raw) -> Status,
    ) -> crate::Result<Handle> {
        let mut raw = ptr::null_mut();
        self.check(create(&mut raw), what)?;
        Ok(Handle { raw, destroy })
    }
}

impl<V: Vendor> fmt::Debug for VendorLibrary<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", V::TYPE, self.version())
    }
}

/// Loads a library by its name or file.
fn load(name: &OsStr) -> Result<Library, String> {
    // SAFETY: the initialisers of these libraries only set up their own state.
    unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })
}

/// A C string of a library.
pub(super) fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: these libraries return C strings that stay valid.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
