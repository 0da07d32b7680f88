//! NumPy's `.npz`.

use super::archive::{self, Entry};
use super::out::{Out, Written};
use super::tensors::ExportTensor;
use files::npy_header;

/// Writes an array for each tensor, by its name. The metadata are files of the archive that are no
/// arrays.
pub(super) fn write<'t>(
    tensors: &'t [ExportTensor<'t>],
    metadata: &[(&'static str, String)],
    out: &mut Out<'_>,
) -> Written {
    let array = |tensor: &'t ExportTensor<'t>| {
        let ExportTensor { name, shape, .. } = tensor;
        let (name, start) = (format!("{name}.npy"), npy_header("<f4", shape));
        Entry { name, start, tensor: Some(tensor) }
    };
    let metadata = metadata.iter().map(|(key, text)| Entry::plain(*key, text.as_bytes()));
    let entries: Vec<Entry<'_>> = tensors.iter().map(array).chain(metadata).collect();
    archive::write(&entries, out)
}
