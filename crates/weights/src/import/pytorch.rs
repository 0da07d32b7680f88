//! Files of `torch.save`: the parameters in them, read from their places.
//!
//! Both forms have a pickle that describes the tensors, and the elements outside it. Nothing in
//! the pickle is executed: an allow-list (`globals`) names what it may refer to, and everything
//! else is refused, as `torch.load(weights_only=True)` does.
//!
//! * `globals`: the allow-list
//! * `state`: from a pickle to named tensors
//! * `archive`: the zip form, since PyTorch 1.6
//! * `stream`: the form before that

mod archive;
mod globals;
mod state;
mod stream;

use super::stored::StoredTensors;
use super::{Format, Source, TensorReader};
use globals::Global;

/// A pickle is no longer, and has no more values: a quarter of a million take some 20 MB.
const LONGEST_PICKLE: u64 = 32 << 20;
const LIMITS: unpickle::PickleLimits = unpickle::PickleLimits { values: 1 << 18, depth: 100 };

/// Opens a file of PyTorch 1.6 or later.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open_archive(source: Source) -> Result<Box<dyn TensorReader>, String> {
    let archive::Contents { tensors, storages, metadata } = archive::read(&source)?;
    let file = StoredTensors::new(Format::PyTorch, source, tensors, &storages)?;
    Ok(Box::new(file.with_metadata(metadata)))
}

/// Opens a file of an earlier version.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open_stream(source: Source) -> Result<Box<dyn TensorReader>, String> {
    let (tensors, storages) = stream::read(&source)?;
    Ok(Box::new(StoredTensors::new(Format::PyTorchLegacy, source, tensors, &storages)?))
}

/// Why a pickle cannot be used, and what to do.
fn refused(error: unpickle::Error) -> String {
    use unpickle::Error;
    const REMEDY: &str = "in Python, `torch.save(model.state_dict(), path)` writes the parameters \
                          alone";
    match error {
        Error::NotAllowed(name) => {
            let is_module = ["torch.nn.", "torchvision.models.", "__main__."];
            if is_module.iter().any(|module| name.starts_with(module)) {
                format!("it holds a pickled module (`{name}`), which is code; {REMEDY}")
            } else {
                format!("it refers to `{name}`, which is not read without running code; {REMEDY}")
            }
        }
        Error::TooMuch { .. } => format!("{error}; {REMEDY}"),
        Error::Truncated { .. } | Error::Damaged { .. } => format!("{error}; download it again"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
