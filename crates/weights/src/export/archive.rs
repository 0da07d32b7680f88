//! Zip archives of tensors: those of PyTorch and of NumPy.

use super::out::{Out, Written};
use super::tensors::ExportTensor;
use files::StoredZip;

/// A file of an archive.
pub(super) struct Entry<'a> {
    pub name: String,
    /// Its first bytes.
    pub start: Vec<u8>,
    /// The tensor whose values follow them.
    pub tensor: Option<&'a ExportTensor<'a>>,
}

impl<'a> Entry<'a> {
    /// A file without a tensor.
    pub fn plain(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Entry<'a> {
        Entry { name: name.into(), start: bytes.into(), tensor: None }
    }
}

/// Writes an archive of these files, in this order.
pub(super) fn write(entries: &[Entry<'_>], out: &mut Out<'_>) -> Written {
    let bytes =
        |entry: &Entry<'_>| entry.start.len() as u64 + entry.tensor.map_or(0, ExportTensor::bytes);
    let mut zip = StoredZip::new(entries.iter().map(|entry| (entry.name.clone(), bytes(entry))));
    out.expect(zip.end());
    for (at, entry) in entries.iter().enumerate() {
        out.seek(zip.start(at))?;
        zip.update(at, &entry.start);
        out.write(&entry.start)?;
        if let Some(tensor) = entry.tensor {
            let values = tensor.values();
            let bytes: &[u8] = bytemuck::cast_slice(&values);
            zip.update(at, bytes);
            out.write(bytes)?;
        }
    }
    for (position, header) in zip.headers() {
        out.seek(position)?;
        out.write(&header)?;
    }
    out.seek(zip.end())?;
    out.write(&zip.directory())
}
