//! Weights files of other programs, as named tensors.
//!
//! A reader for each format ([`Format`]) lists the tensors of a file and reads them one at a time.
//! Only a file of Caffe or ONNX, which is one protobuf message, lies in memory as a whole. Tensors
//! keep the names, the order and the layout that the file has, but for matrices of ONNX, which
//! become `[out, in]`; fitting them into a network is another module's task.
//!
//! Caffe's tensors are named after layer and blob: `conv1.weight`, `conv1.bias`, `conv1.2`; those of
//! a BatchNorm layer `bn1.mean`, `bn1.variance` (both to be divided by `bn1.scale_factor`). Its first
//! filters take blue, green, red, and so does its mean image ([`read_mean`]).
//!
//! ONNX's are the graph's initializers: first those of Conv, Gemm, MatMul (with the Add after it) and
//! BatchNormalization in the order of the nodes, then the others. Weights of a MatMul, and of a Gemm
//! without `transB`, are transposed, biases are vectors, and a Gemm's `alpha` and `beta` are
//! multiplied into both. Data in other files must be in the model's own folder.

mod caffe;
mod defaults;
mod elements;
pub(crate) mod exported;
mod guess;
mod mean;
pub(crate) mod names;
mod npy;
mod npz;
mod onnx;
mod protobuf;
mod pytorch;
mod safetensors;
mod source;
mod stored;
mod zip;

pub mod fit;

use crate::{Error, Result};
pub(crate) use source::Source;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

pub(crate) use defaults::read_from;
pub use defaults::{ImportOptions, about, read};
pub(crate) use mean::of_bytes as mean_of_bytes;
pub use mean::read_mean;

/// A kind of weights file that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `torch.save` since PyTorch 1.6: a zip archive.
    PyTorch,
    /// `torch.save` of PyTorch 0.1.10 to 1.5: a stream of pickles.
    PyTorchLegacy,
    /// Safetensors, one file or several with an index.
    Safetensors,
    /// Caffe's `NetParameter`.
    Caffe,
    /// ONNX's `ModelProto`.
    Onnx,
    /// NumPy's `.npz`.
    Npz,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::PyTorch => "a PyTorch file",
            Format::PyTorchLegacy => "a PyTorch file (before version 1.6)",
            Format::Safetensors => "a safetensors file",
            Format::Caffe => "a Caffe model",
            Format::Onnx => "an ONNX model",
            Format::Npz => "a NumPy archive",
        })
    }
}

/// The type of a tensor's elements in a file; they are converted to f32 when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// IEEE double precision; rounded to f32.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// 64-bit integers, such as `num_batches_tracked`; they are listed, and cannot be read.
    I64,
    /// 32-bit integers; not read either.
    I32,
    /// 16-bit integers; not read either.
    I16,
    /// Signed bytes; not read either.
    I8,
    /// Bytes; not read either.
    U8,
    /// Truth values, a byte each; not read either.
    Bool,
    /// Another type, by the name that the format has for it; not read either.
    Other(&'static str),
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The name in the file: `features.0.weight`. What wrappers put before all names of a PyTorch
    /// or safetensors file (`module.`, `model.`, `_orig_mod.`) is left out.
    pub name: String,
    /// The extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements' type in the file.
    pub element: ElementType,
}

/// The kinds of layers that distinguish networks with equal parameter shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphLayer {
    /// A convolution or a linear layer.
    Weighted,
    /// Local response normalisation.
    Lrn,
    /// Pooling.
    Pool,
}

/// An open weights file of another program.
pub trait TensorReader: Send {
    /// The format of the file.
    fn format(&self) -> Format;

    /// All floating-point tensors, and integer ones, in the order of the file.
    fn tensors(&self) -> &[TensorInfo];

    /// The layers of the network in their order; empty for formats that have tensors only.
    fn graph(&self) -> &[GraphLayer] {
        &[]
    }

    /// A text of the file's metadata, of safetensors, ONNX and this program's exports.
    fn metadata(&self, key: &str) -> Option<&str> {
        let _ = key;
        None
    }

    /// Whether the first layer takes blue, green, red: Caffe's networks, and those converted from
    /// Caffe, which local response normalisation identifies. This program's exports take red, green,
    /// blue.
    fn is_bgr(&self) -> bool {
        let is_caffes = self.format() == Format::Caffe || self.graph().contains(&GraphLayer::Lrn);
        is_caffes && self.metadata(exported::ABOUT).is_none()
    }

    /// The values of the tensor at `index` of [`tensors`](Self::tensors), row by row.
    ///
    /// # Errors
    /// A sentence without the path, if the file cannot be read or is damaged.
    fn read(&mut self, index: usize) -> std::result::Result<Vec<f32>, String>;
}

/// Opens a weights file of another program; its first bytes tell the format, not its name.
///
/// # Errors
/// [`Error::Unusable`] if it cannot be read, is damaged, or is of a format that cannot be read, which
/// the message names.
pub fn open(path: impl AsRef<Path>) -> Result<Box<dyn TensorReader>> {
    let path = path.as_ref();
    open_as(path, path)
}

/// [`open`] of a file that will be called `path`.
pub(crate) fn open_as(file: &Path, path: &Path) -> Result<Box<dyn TensorReader>> {
    let unusable = |reason: String| Error::Unusable { path: path.into(), reason };
    let source = Source::open(file).map_err(|error| unusable(format!("cannot read: {error}")))?;
    open_source(source, path).map_err(unusable)
}

/// [`open`] of a file in memory. For fuzzing.
pub(crate) fn of_bytes(
    bytes: &[u8],
    path: &Path,
) -> std::result::Result<Box<dyn TensorReader>, String> {
    open_source(Source::memory(bytes), path)
}

fn open_source(source: Source, path: &Path) -> std::result::Result<Box<dyn TensorReader>, String> {
    let start = source.bytes(0, START.min(source.len()))?;
    let file = match Detected::of(&start, path) {
        Detected::Readable(Format::PyTorch) => pytorch::open_archive(source),
        Detected::Readable(Format::PyTorchLegacy) => pytorch::open_stream(source),
        Detected::Readable(Format::Npz) => npz::open(source),
        Detected::Readable(Format::Safetensors) => safetensors::open(source, path),
        Detected::Readable(format @ (Format::Caffe | Format::Onnx)) => {
            guess::open(&source, path, format)
        }
        Detected::Other(what) => Err(format!(
            "this is {what}, not weights that can be read (PyTorch, safetensors, Caffe, ONNX or NumPy)"
        )),
    }?;
    if file.tensors().len() > MAX_TENSORS {
        return Err(format!("it has more than {MAX_TENSORS} tensors"));
    }
    Ok(file)
}

/// Tensors of a file; a network of this program has fewer than a hundred.
const MAX_TENSORS: usize = 1 << 14;

/// Whether another program wrote the file; false if it cannot be read.
pub fn is_foreign(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let Ok(source) = Source::open(path) else { return false };
    let Ok(start) = source.bytes(0, START.min(source.len())) else { return false };
    match Detected::of(&start, path) {
        Detected::Readable(Format::Safetensors) => own_metadata(&source).is_none(),
        // A damaged file of this program, which has its own message.
        Detected::Other(_) => path.extension().is_none_or(|extension| extension != "safetensors"),
        Detected::Readable(_) => true,
    }
}

/// Whether this program wrote the file, of weights or a checkpoint, whatever its name is; false of
/// exports for other programs, and if it cannot be read.
pub fn is_own(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    Source::open(path).is_ok_and(|source| own_metadata(&source).is_some())
}

/// The metadata of a safetensors file of this program; `None` of any other file.
pub(crate) fn own_metadata(source: &Source) -> Option<HashMap<String, String>> {
    let length = u64::from_le_bytes(source.bytes(0, 8).ok()?[..].try_into().ok()?);
    if length > safetensors::LONGEST_HEADER {
        return None;
    }
    let header = source.bytes(8, length).ok()?;
    let mut header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    let metadata = header.get_mut("__metadata__")?.take();
    let metadata: HashMap<String, String> = serde_json::from_value(metadata).ok()?;
    metadata.contains_key("alexnet").then_some(metadata)
}

/// Bytes that suffice to recognise a format; the signature of a tar file is at byte 257.
const START: u64 = 512;

/// What a file is, by its first bytes.
#[derive(Debug, PartialEq)]
enum Detected {
    Readable(Format),
    /// In words, with an article: `a Keras HDF5 file`.
    Other(&'static str),
}

impl Detected {
    fn of(start: &[u8], path: &Path) -> Detected {
        use Detected::{Other, Readable};
        let ends = |ending: &str| path.to_string_lossy().to_lowercase().ends_with(ending);
        let has = |text: &[u8]| start.windows(text.len()).any(|window| window == text);
        // LONG1 of PyTorch's magic number, the first pickle of its old files.
        const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
        match start {
            [] => Other("an empty file"),
            // A header's length, whose first bytes may be those of any other format, and a brace.
            [_, _, _, 0, 0, 0, 0, 0, b'{', ..] => Readable(Format::Safetensors),
            [b'P', b'K', 3, 4, ..] if ends(".npz") || begins_with_array(start) => {
                Readable(Format::Npz)
            }
            [b'P', b'K', 3, 4, ..] if ends(".keras") => Other("a Keras file"),
            [b'P', b'K', 3, 4, ..] => Readable(Format::PyTorch),
            [0x80, _, rest @ ..] if rest.starts_with(MAGIC) => Readable(Format::PyTorchLegacy),
            [0x80, ..] => Other("a Python pickle that PyTorch did not write"),
            [0x89, b'H', b'D', b'F', ..] if ends(".mat") => Other("a MATLAB file"),
            [0x89, b'H', b'D', b'F', ..] => Other("a Keras HDF5 file"),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Other("a NumPy array"),
            [b'G', b'G', b'U', b'F', ..] => Other("a GGUF file"),
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Other("a TensorFlow Lite file"),
            [b'M', b'A', b'T', b'L', b'A', b'B', ..] => Other("a MATLAB file"),
            [0x1f, 0x8b, ..] => Other("a gzip file"),
            _ if start.starts_with(b"version https://git-lfs") => {
                Other("a Git LFS pointer instead of the file (`git lfs pull` fetches it)")
            }
            _ if start.get(257..262) == Some(b"ustar") => {
                Other("a tar file, as PyTorch before 0.1.10 wrote it, or another program")
            }
            _ if has(b"<html") || has(b"<!DOCTYPE") => Other("a web page"),
            [_, _, _, _, _, _, _, 0, b'{', ..] => Readable(Format::Safetensors),
            [b'{', ..] if ends(".index.json") => Readable(Format::Safetensors),
            [b'{', ..] => Other("a JSON file"),
            // ModelProto begins with ir_version, or with a later field if a program leaves that out.
            _ if ends(".onnx") => Readable(Format::Onnx),
            [0x08, 1..=20, ..] => Readable(Format::Onnx),
            // NetParameter begins with its name.
            _ if ends(".caffemodel") => Readable(Format::Caffe),
            [0x0a, ..] => Readable(Format::Caffe),
            _ => Other("a file of an unknown format"),
        }
    }
}

/// Whether the first file of a zip archive is NumPy's.
fn begins_with_array(zip: &[u8]) -> bool {
    let Some(&[low, high]) = zip.get(26..28) else { return false };
    let name = zip.get(30..30 + usize::from(u16::from_le_bytes([low, high])));
    name.is_some_and(|name| name.ends_with(b".npy"))
}
