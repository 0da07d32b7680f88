//! Libraries that are found when the program runs.

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

/// A handle or a descriptor as a library has it.
pub(super) type Raw = *mut c_void;
/// What every call gives back; it may be a value that a later version has added.
pub(super) type Status = c_int;

/// What all of them call success.
pub(super) const SUCCESS: Status = 0;

/// Something of a library's that is destroyed in the end.
#[derive(Debug)]
pub(super) struct Handle {
    pub raw: Raw,
    destroy: unsafe extern "C" fn(Raw) -> Status,
}

// SAFETY: handles and descriptors belong to no thread, and are used by one at a time.
unsafe impl Send for Handle {}

impl Handle {
    /// What `create` writes, or what it reports.
    pub fn new(
        destroy: unsafe extern "C" fn(Raw) -> Status,
        create: impl FnOnce(*mut Raw) -> Status,
    ) -> Result<Handle, Status> {
        let mut raw = ptr::null_mut();
        match create(&mut raw) {
            SUCCESS => Ok(Handle { raw, destroy }),
            status => Err(status),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once. What fails now comes too late.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}

/// A record of a library's functions, as its header declares them, and `of`, which finds them or
/// gives the name of one that the library lacks.
macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// As the library's header declares them.
        pub(super) struct Functions {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            /// The library's functions, or the name of one that it lacks.
            fn of(library: &Library) -> std::result::Result<Functions, &'static str> {
                Ok(Functions {
                    $($field: {
                        // SAFETY: the header declares the function with this signature in every
                        // version since `LEAST`; it is called only while the library is loaded.
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

/// A library as it is looked for.
pub(super) struct Wanted {
    /// What it may be called, the best first.
    pub names: &'static [&'static str],
    /// The least version that will do, as people write it.
    pub least: &'static str,
    /// Where one gets it: `NVIDIA's cuDNN, or pip install nvidia-cudnn-cu13`.
    pub from: &'static str,
}

impl Wanted {
    /// What `of` makes of the first that the system finds, told its name; or what the system says
    /// of the first name, which is said of a file that may be there, and what to do.
    pub fn find<T>(
        &self,
        of: impl FnOnce(Library, &str) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut why = String::new();
        for name in self.names {
            match load(name.as_ref()) {
                Ok(library) => return of(library, name),
                Err(error) if why.is_empty() => why = error,
                Err(_) => {}
            }
        }
        let Wanted { names, from, .. } = self;
        Err(format!(
            "{why}; install it ({from} and the folder of its {} in LD_LIBRARY_PATH)",
            names[0]
        ))
    }

    /// What `of` makes of the one in this file.
    pub fn open<T>(
        path: &Path,
        of: impl FnOnce(Library, &str) -> Result<T, String>,
    ) -> Result<T, String> {
        load(path.as_os_str()).and_then(|library| of(library, &path.to_string_lossy()))
    }

    /// That the one of this name is too old, as can be seen by this.
    pub fn old(&self, name: &str, reason: String) -> String {
        format!("{name} {reason}: update it to {} or newer", self.least)
    }
}

/// The library of this name or in this file.
fn load(name: &OsStr) -> Result<Library, String> {
    // SAFETY: the initialisers of the libraries asked for only set up their own state.
    unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })
}

/// What a library says of a status.
pub(super) fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: libraries give out C strings that stay where they are.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
