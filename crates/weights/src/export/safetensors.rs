//! Safetensors files of other programs.

use super::out::{Out, Written};
use super::tensors::ExportTensor;
use crate::tensors::{Entry, header};
use std::collections::BTreeMap;

/// Writes the tensors in their order, and the metadata.
pub(super) fn write(
    tensors: &[ExportTensor<'_>],
    metadata: &[(&'static str, String)],
    out: &mut Out<'_>,
) -> Written {
    let metadata: BTreeMap<_, _> = metadata.iter().cloned().collect();
    let entries = tensors.iter().map(|tensor| {
        let (dtype, bytes) = ("F32", 4 * tensor.len());
        Entry { name: &tensor.name, dtype, shape: &tensor.shape, bytes }
    });
    let header = header(&metadata, entries);
    let values: u64 = tensors.iter().map(ExportTensor::bytes).sum();
    out.expect(header.len() as u64 + values);
    out.write(&header)?;
    tensors.iter().try_for_each(|tensor| out.write(bytemuck::cast_slice(&tensor.values())))
}
