//! NumPy's `.npz`: a zip archive of `.npy` files, each with a tensor under its name.

use super::npy::NpyHeader;
use super::stored::{Described, Storage, Storages, StoredTensors};
use super::zip::entries;
use super::{ElementType, Format, Source, TensorReader, exported};
use crate::import::names::shown;

/// A header is no longer.
const LONGEST_HEADER: u64 = 64 << 10;

/// Opens an archive.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open(source: Source) -> Result<Box<dyn TensorReader>, String> {
    let entries = entries(&source)?;
    let packed = |name: &str| {
        let name = shown(name);
        format!("its entry {name} is compressed, which is not read; save it with `numpy.savez`")
    };
    let mut arrays = Vec::new();
    for (name, entry) in &entries {
        if let Some(tensor) = name.strip_suffix(".npy") {
            arrays.push((tensor, entry.ok_or_else(|| packed(name))?));
        }
    }
    // The order of the file, which is that in which NumPy was given them.
    arrays.sort_by_key(|(_, entry)| entry.at);
    let (mut tensors, mut storages) = (Vec::new(), Storages::new());
    for (name, entry) in arrays {
        tensors.push(array(&source, name, entry)?);
        storages.insert(name.to_string(), entry);
    }
    let metadata = exported::of_archive(|key| match entries.get(key) {
        None => Ok(None),
        Some(None) => Err(packed(key)),
        Some(Some(entry)) if entry.bytes > exported::LONGEST => {
            Err(format!("its entry {key} is longer than {} MiB", exported::LONGEST >> 20))
        }
        Some(Some(entry)) => source.bytes(entry.at, entry.bytes).map(Some),
    })?;
    let file = StoredTensors::new(Format::Npz, source, tensors, &storages)?;
    Ok(Box::new(file.with_metadata(metadata)))
}

/// The array of an entry.
fn array(source: &Source, name: &str, entry: Storage) -> Result<Described, String> {
    let wrong = |what: &str| format!("the array `{}` {what}", shown(name));
    let start = source.bytes(entry.at, entry.bytes.min(LONGEST_HEADER))?;
    let header = NpyHeader::parse(&start).ok_or_else(|| {
        wrong("is damaged, or of a version of NumPy's format after 3; save it again")
    })?;
    let element = element(&header.descr).ok_or_else(|| {
        let descr = shown(&header.descr);
        wrong(&format!("has the type `{descr}`; save it with `.astype('<f4')`"))
    })?;
    let size = element.bytes().unwrap_or(1);
    let strides = strides(&header).ok_or_else(|| wrong("has a shape that is too large"))?;
    if !header.bytes.is_multiple_of(size) {
        return Err(wrong("does not begin at a multiple of its elements' size; save it again"));
    }
    Ok(Described {
        name: name.to_string(),
        element,
        shape: header.shape,
        strides,
        offset: header.bytes / size,
        storage: name.to_string(),
    })
}

/// The strides of an array without gaps.
fn strides(header: &NpyHeader) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; header.shape.len()];
    let mut next = 1usize;
    let mut set = |at: usize| {
        strides[at] = next;
        next = next.checked_mul(header.shape[at])?;
        Some(())
    };
    if header.fortran {
        (0..header.shape.len()).try_for_each(&mut set)?;
    } else {
        (0..header.shape.len()).rev().try_for_each(&mut set)?;
    }
    Some(strides)
}

/// The type of elements; `None` of one that is not known, or is big-endian.
fn element(descr: &str) -> Option<ElementType> {
    Some(match descr {
        "<f8" => ElementType::F64,
        "<f4" => ElementType::F32,
        "<f2" => ElementType::F16,
        "<i8" => ElementType::I64,
        "<i4" => ElementType::I32,
        "<i2" => ElementType::I16,
        "|i1" => ElementType::I8,
        "|u1" => ElementType::U8,
        "|b1" => ElementType::Bool,
        _ => return None,
    })
}
