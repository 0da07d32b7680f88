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

use super::elements::Layout;
use super::names::shown;
use super::{Format, Source, TensorInfo, TensorReader, names};
use globals::Global;
use rawzip::Crc32;
use state::Described;
use std::collections::{HashMap, HashSet};

/// A pickle is no longer, and has no more values: a quarter of a million take some 20 MB.
const LONGEST_PICKLE: u64 = 32 << 20;
const LIMITS: unpickle::PickleLimits = unpickle::PickleLimits { values: 1 << 18, depth: 100 };

/// Bytes of a file that are checked at a time.
const PIECE: u64 = 1 << 20;

/// Opens a file of PyTorch 1.6 or later.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open_archive(source: Source) -> Result<Box<dyn TensorReader>, String> {
    let (tensors, storages) = archive::read(&source)?;
    Ok(Box::new(PyTorchFile::new(Format::PyTorch, source, tensors, &storages)?))
}

/// Opens a file of an earlier version.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open_stream(source: Source) -> Result<Box<dyn TensorReader>, String> {
    let (tensors, storages) = stream::read(&source)?;
    Ok(Box::new(PyTorchFile::new(Format::PyTorchLegacy, source, tensors, &storages)?))
}

/// Where the elements of a storage lie, which one or several tensors show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Storage {
    at: u64,
    bytes: u64,
    /// The checksum of its bytes, if there is one, as in most zip files.
    crc32: Option<u32>,
}

/// The storages of a file by their keys.
type Storages = HashMap<String, Storage>;

struct PyTorchFile {
    format: Format,
    source: Source,
    tensors: Vec<TensorInfo>,
    /// For each tensor, in the same order.
    places: Vec<Place>,
    /// Storages whose checksums were right.
    checked: HashSet<Storage>,
}

struct Place {
    storage: Storage,
    /// The byte of the file at which the tensor's first element lies.
    at: u64,
    layout: Layout,
}

impl PyTorchFile {
    fn new(
        format: Format,
        source: Source,
        described: Vec<Described>,
        storages: &Storages,
    ) -> Result<PyTorchFile, String> {
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for tensor in described {
            let wrong = |reason| format!("the tensor `{}` has {reason}", shown(&tensor.name));
            places.push(place(&tensor, storages).map_err(wrong)?);
            let Described { name, shape, element, .. } = tensor;
            tensors.push(TensorInfo { name, shape, element });
        }
        names::unwrap(&mut tensors)?;
        Ok(PyTorchFile { format, source, tensors, places, checked: HashSet::new() })
    }

    /// Compares a storage with its checksum, once.
    fn check(&mut self, storage: Storage) -> Result<(), String> {
        let Some(expected) = storage.crc32.filter(|_| !self.checked.contains(&storage)) else {
            return Ok(());
        };
        let mut sum = Crc32::new();
        let mut buffer = Vec::new();
        for begin in (0..storage.bytes).step_by(PIECE as usize) {
            buffer.resize((storage.bytes - begin).min(PIECE) as usize, 0);
            self.source.fill(storage.at + begin, &mut buffer)?;
            sum.update(&buffer);
        }
        if sum.checksum() != expected {
            return Err("some bytes are not as they were written (their checksum is wrong); \
                        download it again"
                .into());
        }
        self.checked.insert(storage);
        Ok(())
    }
}

impl TensorReader for PyTorchFile {
    fn format(&self) -> Format {
        self.format
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&mut self, index: usize) -> Result<Vec<f32>, String> {
        let element = self.tensors[index].element;
        if !element.is_float() {
            return Err(element.not_float(&self.tensors[index].name));
        }
        self.check(self.places[index].storage)?;
        let place = &self.places[index];
        place.layout.read(&self.source, place.at, element)
    }
}

/// Where a tensor's elements lie, all of them in its storage.
fn place(tensor: &Described, storages: &Storages) -> Result<Place, String> {
    let Some(&storage) = storages.get(&tensor.storage) else {
        let key = shown(&tensor.storage);
        return Err(format!("its elements in storage {key}, which the file lacks: it is damaged"));
    };
    let layout = Layout::strided(&tensor.shape, &tensor.strides)?;
    let Some(size) = tensor.element.bytes() else {
        // It is listed only.
        return Ok(Place { storage, at: storage.at, layout });
    };
    let bytes = |elements: usize| (elements as u64).checked_mul(size as u64);
    let begin = bytes(tensor.offset);
    let end = bytes(layout.span()).and_then(|span| begin?.checked_add(span));
    match (begin, end) {
        (Some(begin), Some(end)) if end <= storage.bytes => {
            Ok(Place { storage, at: storage.at + begin, layout })
        }
        _ => Err(format!(
            "elements beyond the {} bytes of its storage: it is damaged, or was cut off",
            storage.bytes
        )),
    }
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
