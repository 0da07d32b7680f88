//! Loading the images of kernels into the driver.

use super::{driver, nvrtc};
use crate::{Error, Result};
use cudarc::driver::{DriverError, result, sys};
use std::path::PathBuf;
use std::{env, fs};

/// The first bytes of a fatbin.
const FATBIN_MAGIC: &[u8] = b"\x50\xed\x55\xba";

/// Loads a `.fatbin` or `.cubin`. A driver of CUDA 12 may reject machine code and PTX of CUDA 13:
/// it then gets the PTX for CUDA 12.0, and compiles that.
pub(super) fn load(op: &str, bytes: &[u8]) -> Result<sys::CUmodule> {
    use sys::CUresult as R;
    let rejected = [
        R::CUDA_ERROR_INVALID_IMAGE,
        R::CUDA_ERROR_NO_BINARY_FOR_GPU,
        R::CUDA_ERROR_INVALID_PTX,
        R::CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
    ];
    let module = match (load_data(bytes), second_image(bytes)) {
        (Err(error), Some(ptx)) if rejected.contains(&error.0) => load_data(ptx),
        (module, _) => module,
    };
    module.map_err(|error| {
        let version = driver::version().unwrap_or(driver::CURRENT_VERSION);
        let mut reason = driver::sentence(error);
        if version < driver::CURRENT_VERSION {
            let has = driver::dotted(version);
            reason += &format!("; the driver is made for CUDA {has}: update it to ");
            reason += &format!("{} or newer", driver::CURRENT_BRANCH);
        }
        Error::Gpu { what: format!("loading the kernels of `{op}`"), reason }
    })
}

fn load_data(bytes: &[u8]) -> std::result::Result<sys::CUmodule, DriverError> {
    // The driver requires an aligned address.
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: a whole image, which the driver copies.
    unsafe { result::module::load_data(words.as_ptr().cast()) }
}

/// The image that follows the first one in a file of `cargo xtask kernels`. A fatbin begins with a
/// magic number (4 bytes), a version (2), the size of its header (2) and of the rest (8).
fn second_image(bytes: &[u8]) -> Option<&[u8]> {
    let is_fatbin = |bytes: &[u8]| bytes.starts_with(FATBIN_MAGIC);
    let header: [u8; 16] = bytes.first_chunk().copied().filter(|_| is_fatbin(bytes))?;
    let [header_size, rest] = [&header[6..8], &header[8..16]]
        .map(|field| field.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte)));
    let end = usize::try_from(header_size.checked_add(rest)?).ok()?;
    bytes.get(end..).filter(|rest| is_fatbin(rest))
}

/// Kernels in the folder `ALEXNET_KERNELS`, for development.
pub(super) fn fresh(op: &str, capability: (u32, u32)) -> Result<Option<Vec<u8>>> {
    let Some(folder) = env::var_os("ALEXNET_KERNELS").map(PathBuf::from) else { return Ok(None) };
    for kind in ["fatbin", "cubin"] {
        let path = folder.join(op).with_extension(kind);
        if path.exists() {
            let unreadable = |error| Error::Gpu {
                what: format!("reading {}", path.display()),
                reason: format!("{error}"),
            };
            return fs::read(&path).map(Some).map_err(unreadable);
        }
    }
    let source = folder.join(op).with_extension("cu");
    if source.exists() { nvrtc::compile(&source, capability).map(Some) } else { Ok(None) }
}
