//! Files of named tensors in the safetensors format, written as a stream.
//!
//! The format has no checksum. A checked file has an additional tensor, [`CHECKSUM`], in its last
//! 32 bytes: the SHA-256 of all bytes before them. Any reader of the format can read the file, and
//! this one verifies it.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

/// The name of the tensor that holds a file's checksum.
pub const CHECKSUM: &str = "sha256";
const CHECKSUM_BYTES: usize = 32;

/// Bytes hashed and written at a time, so that they are still in the cache when written.
const PIECE: usize = 1 << 20;

/// A tensor that owns its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub values: Vec<f32>,
}

/// The contents of a file to be written.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Text by name.
    pub metadata: BTreeMap<&'static str, String>,
    /// Tensors in file order.
    pub tensors: Vec<Tensor<'a>>,
    /// Whether the file ends with its checksum.
    pub checked: bool,
}

/// A borrowed tensor.
#[derive(Debug)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its elements, the last dimension fastest.
    pub values: &'a [f32],
}

/// A tensor in a header.
pub(crate) struct Entry<'a> {
    pub name: &'a str,
    pub dtype: &'static str,
    pub shape: &'a [usize],
    pub bytes: usize,
}

/// The header of a file with these tensors, in this order.
pub(crate) fn header<'a>(
    metadata: &BTreeMap<&'static str, String>,
    tensors: impl Iterator<Item = Entry<'a>>,
) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_string(), json!(metadata));
    let mut at = 0;
    for Entry { name, dtype, shape, bytes } in tensors {
        let place = json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes] });
        entries.insert(name.to_string(), place);
        at += bytes;
    }
    let mut text = serde_json::to_vec(&Value::Object(entries)).expect("plain data");
    text.resize(text.len().next_multiple_of(8), b' '); // floats start on a multiple of eight
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text);
    header
}

impl Contents<'_> {
    /// The file's header. Equal contents give equal bytes: entries are sorted by name.
    pub fn header(&self) -> Vec<u8> {
        let tensors = self.tensors.iter().map(|tensor| Entry {
            name: &tensor.name,
            dtype: "F32",
            shape: tensor.shape,
            bytes: 4 * tensor.values.len(),
        });
        let (shape, bytes) = (&[CHECKSUM_BYTES], CHECKSUM_BYTES);
        let checksum = Entry { name: CHECKSUM, dtype: "U8", shape, bytes };
        header(&self.metadata, tensors.chain(self.checked.then_some(checksum)))
    }

    /// The file's size.
    pub fn bytes(&self) -> u64 {
        let floats: usize = self.tensors.iter().map(|tensor| tensor.values.len()).sum();
        let checksum = if self.checked { CHECKSUM_BYTES } else { 0 };
        (self.header().len() + 4 * floats + checksum) as u64
    }

    /// Writes the file.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = self.header();
        let data = self.tensors.iter().map(|tensor| bytemuck::cast_slice(tensor.values));
        let mut hash = self.checked.then(Sha256::new);
        for part in std::iter::once(&header[..]).chain(data) {
            for piece in part.chunks(PIECE) {
                hash.iter_mut().for_each(|hash| hash.update(piece));
                out.write_all(piece)?;
            }
        }
        hash.map_or(Ok(()), |hash| out.write_all(&hash.finalize()))
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct TensorFile {
    /// Text by name.
    pub metadata: HashMap<String, String>,
    /// Tensors by name.
    pub tensors: HashMap<String, Values>,
    /// Whether it had a checksum, which was verified.
    pub checked: bool,
}

impl TensorFile {
    /// Parses a file and verifies its checksum if it has one.
    pub fn from_bytes(bytes: &[u8]) -> Result<TensorFile, String> {
        let damaged = |error| format!("this is not an intact safetensors file ({error})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let views = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let checked = views.tensor(CHECKSUM).is_ok();
        if checked {
            let (data, sum) = bytes.split_at(bytes.len().saturating_sub(CHECKSUM_BYTES));
            if Sha256::digest(data)[..] != *sum {
                return Err("its checksum is wrong: some bytes have changed".into());
            }
        }
        let mut tensors = HashMap::new();
        for (name, view) in views.iter().filter(|(name, _)| *name != CHECKSUM) {
            tensors.insert(name.to_string(), floats(name, &view)?);
        }
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(TensorFile { metadata, tensors, checked })
    }
}

fn floats(name: &str, view: &TensorView<'_>) -> Result<Values, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("`{name}` is {:?}; this program reads F32", view.dtype()));
    }
    let words = view.data().chunks_exact(4);
    let values = words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Values { shape: view.shape().to_vec(), values })
}
