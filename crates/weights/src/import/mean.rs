//! Mean images and mean colours of other programs: Caffe's `.binaryproto`, and NumPy's `.npy`.

use super::npy::{MAGIC, NpyHeader};
use super::protobuf::{Problem, count};
use super::{Source, caffe, protobuf};
use crate::{Error, Result, Values};
use bytes::Bytes;
use std::path::Path;
use unpickle::numpy::{Array, ElementKind};

/// Reads the mean of a data set's images: `[3, height, width]`, or `[3]` for one mean of each colour,
/// from 0 to 255 in most files. The colours are in the order of the file; Caffe's is blue, green,
/// red.
///
/// A `.binaryproto` holds Caffe's `BlobProto`; a `.npy` file holds an array of floats. An extent of
/// one before the others, which is Caffe's number of images, is left out.
///
/// # Errors
/// [`Error::Unusable`] if the file cannot be read, is damaged, or holds something of another shape.
pub fn read_mean(path: impl AsRef<Path>) -> Result<Values> {
    let path = path.as_ref();
    let source = Source::open(path).map_err(|error| format!("cannot read: {error}"));
    let mean = source.and_then(|source| from_bytes(&protobuf::read(&source)?));
    mean.map_err(|reason| Error::Unusable { path: path.into(), reason })
}

/// The mean in a file's bytes. For fuzzing.
pub(crate) fn of_bytes(bytes: &[u8]) -> std::result::Result<Values, String> {
    from_bytes(&Bytes::copy_from_slice(bytes))
}

fn from_bytes(bytes: &Bytes) -> std::result::Result<Values, String> {
    let mut mean = if bytes.starts_with(MAGIC) { npy(bytes)? } else { binaryproto(bytes)? };
    if let [1, _, _, _] = mean.shape[..] {
        mean.shape.remove(0);
    }
    match mean.shape[..] {
        [3] => Ok(mean),
        [3, height, width] if height > 0 && width > 0 => Ok(mean),
        _ => Err(format!(
            "this holds numbers of shape {:?}, and a mean has [3] or [3, height, width]",
            mean.shape
        )),
    }
}

fn binaryproto(bytes: &Bytes) -> std::result::Result<Values, String> {
    let (shape, elements) = caffe::blob(bytes, "mean").map_err(|problem| match problem {
        Problem::Content(reason) => reason,
        _ => "this is neither a mean image of Caffe (`.binaryproto`) nor a NumPy array (`.npy`)"
            .into(),
    })?;
    Ok(Values { shape, values: elements.values() })
}

/// A `.npy` file: a header, then the elements.
fn npy(bytes: &[u8]) -> std::result::Result<Values, String> {
    let damaged = "this `.npy` file is damaged, or of a version after 3: save it again";
    let header = NpyHeader::parse(bytes).ok_or(damaged)?;
    let (big_endian, item_bytes) = match header.descr.as_str() {
        "<f4" => (false, 4),
        "<f8" => (false, 8),
        ">f4" => (true, 4),
        ">f8" => (true, 8),
        _ => {
            return Err("this array is not one of floats: save it with `.astype('float32')`".into());
        }
    };
    let NpyHeader { fortran, shape, .. } = header;
    let data = &bytes[header.bytes..];
    let expected = count(&shape).and_then(|count| count.checked_mul(item_bytes));
    if expected != Some(data.len()) {
        return Err(format!(
            "{} bytes for an array of shape {shape:?}: the file is damaged",
            data.len()
        ));
    }
    let bytes = data.into();
    let array = Array { kind: ElementKind::Float, item_bytes, big_endian, shape, fortran, bytes };
    let values = array.to_f64().into_iter().map(|value| value as f32).collect();
    Ok(Values { shape: array.shape, values })
}
