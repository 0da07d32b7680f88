//! A tensor of a graph, and its data inside the model or beside it.

use crate::import::ElementType;
use crate::import::protobuf::{Elements, Problem, append, count};
use bytes::Bytes;
use prost::Message;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A `TensorProto` whose data is still in its message.
pub(super) struct Tensor {
    header: Header,
    message: Bytes,
}

/// Where a tensor's elements are.
pub(super) enum Data {
    Inside(Elements),
    Outside { path: PathBuf, element: ElementType, offset: u64, len: usize },
}

impl Tensor {
    pub fn decode(message: &Bytes) -> Result<Tensor, Problem> {
        Ok(Tensor { header: Header::decode(message.clone())?, message: message.clone() })
    }

    /// The same under another name.
    pub fn named(mut self, name: &str) -> Tensor {
        self.header.name = name.into();
        self
    }

    pub fn name(&self) -> &str {
        &self.header.name
    }

    pub fn dims(&self) -> &[i64] {
        &self.header.dims
    }

    /// The elements' type.
    pub fn element(&self) -> ElementType {
        match self.header.data_type {
            1 => ElementType::F32,
            2 => ElementType::U8,
            3 => ElementType::I8,
            5 => ElementType::I16,
            6 => ElementType::I32,
            7 => ElementType::I64,
            9 => ElementType::Bool,
            10 => ElementType::F16,
            11 => ElementType::F64,
            16 => ElementType::Bf16,
            4 => ElementType::Other("uint16"),
            8 => ElementType::Other("string"),
            12 => ElementType::Other("uint32"),
            13 => ElementType::Other("uint64"),
            14 | 15 => ElementType::Other("complex"),
            17..=20 => ElementType::Other("float8"),
            21 | 22 => ElementType::Other("int4"),
            _ => ElementType::Other("unknown"),
        }
    }

    /// # Errors
    /// If an extent is negative, or there are more elements than memory has addresses.
    pub fn shape(&self) -> Result<Vec<usize>, Problem> {
        let shape: Option<Vec<usize>> =
            self.dims().iter().map(|&extent| extent.try_into().ok()).collect();
        let shape = shape.filter(|shape| count(shape).is_some());
        shape.ok_or_else(|| self.problem(&format!("has shape {:?}", self.dims())))
    }

    /// Where its floating-point elements are, which must fill its shape; files are looked for in
    /// `folder`.
    pub fn data(&self, shape: &[usize], folder: &Path) -> Result<Data, Problem> {
        let element = self.element();
        let bytes = count(shape).zip(element.bytes()).and_then(|(n, bytes)| n.checked_mul(bytes));
        let bytes = bytes.ok_or_else(|| self.problem(&format!("has shape {shape:?}")))?;
        if self.header.segment.is_some() {
            return Err(self.problem("is only a part (`segment`) of a tensor"));
        }
        if self.header.data_location == 1 {
            return self.outside(element, bytes, folder);
        }
        let elements = match (&self.header.raw_data, element) {
            (Some(raw), _) => Elements::new(element, vec![raw.clone()]),
            (None, ElementType::F32) => Some(Elements::repeated::<Packed, Unpacked, f32>(
                &self.message,
                |data| data.floats,
                |data| data.floats,
            )?),
            (None, ElementType::F64) => Some(Elements::repeated::<Packed, Unpacked, f64>(
                &self.message,
                |data| data.doubles,
                |data| data.doubles,
            )?),
            // Of 16 bits.
            (None, _) => {
                let words = Words::decode(self.message.clone())?.words;
                let bytes: Vec<u8> = words.iter().flat_map(|&w| (w as u16).to_le_bytes()).collect();
                Elements::new(element, vec![bytes.into()])
            }
        };
        match elements {
            Some(elements) if elements.bytes() == bytes => Ok(Data::Inside(elements)),
            _ => Err(self.problem(&format!("does not have as many values as {:?}", self.dims()))),
        }
    }

    fn outside(&self, element: ElementType, bytes: usize, folder: &Path) -> Result<Data, Problem> {
        let entries = &self.header.external_data;
        let entry = |key: &str| entries.iter().find(|entry| entry.key == key);
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(entry) => entry.value.parse::<u64>().map(Some).map_err(|_| {
                self.problem(&format!("has {key} `{}` in its other file", entry.value))
            }),
        };
        let name = entry("location").map_or("", |entry| &entry.value);
        let is_plain = !name.is_empty() && name != "." && name != "..";
        if !is_plain || name.contains(['/', '\\', ':', '\0']) {
            return Err(Problem::Content(format!(
                "`{}` lies in the file `{name}`, which is not in the model's own folder: save the \
                 model with its data in one file",
                self.name()
            )));
        }
        let path = folder.join(name);
        let (offset, len) = (number("offset")?.unwrap_or(0), number("length")?);
        if len.is_some_and(|len| len != bytes as u64) {
            return Err(self.problem(&format!("does not have as many values as {:?}", self.dims())));
        }
        let missing = |why: String| {
            let tensor = self.name();
            Problem::Content(format!(
                "`{tensor}` lies in the file `{name}` beside the model, which {why}: put the file \
                 there that was exported with this model"
            ))
        };
        let file = path.metadata().map_err(|error| missing(format!("cannot be read ({error})")))?;
        let end = offset.checked_add(bytes as u64);
        if !file.is_file() || end.is_none_or(|end| end > file.len()) {
            return Err(missing("is too short".into()));
        }
        Ok(Data::Outside { path, element, offset, len: bytes })
    }

    fn problem(&self, what: &str) -> Problem {
        let name = self.name();
        Problem::Content(format!("`{name}` {what}: the file is damaged; export it again"))
    }
}

impl Data {
    /// All elements as f32.
    ///
    /// # Errors
    /// A sentence, if another file cannot be read.
    pub fn values(&self) -> Result<Vec<f32>, String> {
        match self {
            Data::Inside(elements) => Ok(elements.values()),
            Data::Outside { path, element, offset, len } => {
                let read = || {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(*offset))?;
                    let mut bytes = vec![0; *len];
                    file.read_exact(&mut bytes)?;
                    Ok(bytes)
                };
                let bytes = read().map_err(|error: std::io::Error| {
                    format!("cannot read {}: {error}", path.display())
                })?;
                let mut values = Vec::new();
                append(*element, &bytes, &mut values);
                Ok(values)
            }
        }
    }
}

/// `TensorProto` without the fields of its numbers.
#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(bytes = "bytes", optional, tag = "3")]
    segment: Option<Bytes>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "bytes", optional, tag = "9")]
    raw_data: Option<Bytes>,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `TensorProto`'s numbers where they are packed.
#[derive(Clone, PartialEq, Message)]
struct Packed {
    #[prost(bytes = "bytes", repeated, tag = "4")]
    floats: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "10")]
    doubles: Vec<Bytes>,
}

/// `TensorProto`'s numbers, packed or not.
#[derive(Clone, PartialEq, Message)]
struct Unpacked {
    #[prost(float, repeated, tag = "4")]
    floats: Vec<f32>,
    #[prost(double, repeated, tag = "10")]
    doubles: Vec<f64>,
}

/// `TensorProto`'s elements of 16 bits, each as an integer.
#[derive(Clone, PartialEq, Message)]
struct Words {
    #[prost(int32, repeated, tag = "5")]
    words: Vec<i32>,
}
