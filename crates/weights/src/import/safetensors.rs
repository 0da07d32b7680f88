//! Safetensors files of other programs, one or several with an index.
//!
//! The crate of the format reads its header and checks that the tensors fill the file; tensors are
//! read from their places, so that the file is neither mapped nor held.

use super::elements::Layout;
use super::names::shown;
use super::{ElementType, Format, Source, TensorInfo, TensorReader, names};
use ::safetensors::Dtype;
use ::safetensors::tensor::Metadata;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

/// The bytes before a header: its length.
const LENGTH: u64 = 8;

/// A header or an index is no longer: some hundred thousand tensors.
pub(super) const LONGEST_HEADER: u64 = 8 << 20;

/// The files of an index, at most; all are open at one time.
const MOST_PARTS: usize = 256;

/// Opens a file, or the files that an index names.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open(source: Source, path: &Path) -> Result<Box<dyn TensorReader>, String> {
    let mut file = if path.to_string_lossy().to_lowercase().ends_with(".index.json") {
        SafetensorsFile::of_index(&source, path)?
    } else {
        SafetensorsFile::of_parts([(source, None)])?
    };
    names::unwrap(&mut file.tensors)?;
    Ok(Box::new(file))
}

/// Safetensors files whose headers have been read.
#[derive(Default)]
struct SafetensorsFile {
    parts: Vec<Source>,
    tensors: Vec<TensorInfo>,
    /// For each tensor, in the same order.
    places: Vec<Place>,
    metadata: HashMap<String, String>,
}

/// Where a tensor lies.
struct Place {
    part: usize,
    /// Its first byte in the part.
    at: u64,
}

impl SafetensorsFile {
    /// The tensors of each part, or those that are named with it.
    fn of_parts(
        parts: impl IntoIterator<Item = (Source, Option<Vec<String>>)>,
    ) -> Result<SafetensorsFile, String> {
        let mut file = SafetensorsFile::default();
        for (part, (source, wanted)) in parts.into_iter().enumerate() {
            let (begin, header) = header(&source)?;
            for name in wanted.unwrap_or_else(|| header.offset_keys()) {
                let Some(tensor) = header.info(&name) else {
                    let name = shown(&name);
                    return Err(format!("it has no tensor `{name}`, which the index expects"));
                };
                let (element, shape) = (element(tensor.dtype), tensor.shape.clone());
                let at = begin + tensor.data_offsets.0 as u64;
                file.tensors.push(TensorInfo { name, shape, element });
                file.places.push(Place { part, at });
            }
            file.metadata.extend(header.metadata().clone().unwrap_or_default());
            file.parts.push(source);
        }
        Ok(file)
    }

    fn of_index(index: &Source, path: &Path) -> Result<SafetensorsFile, String> {
        if index.len() > LONGEST_HEADER {
            return Err(format!("an index of more than {} MiB", LONGEST_HEADER >> 20));
        }
        let text = index.bytes(0, index.len())?;
        let index: Index = serde_json::from_slice(&text)
            .map_err(|error| format!("this is no index of safetensors files: {error}"))?;
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (tensor, part) in index.weight_map.0 {
            wanted.entry(part).or_default().push(tensor);
        }
        if wanted.len() > MOST_PARTS {
            return Err(format!("an index of more than {MOST_PARTS} files"));
        }
        let mut file = SafetensorsFile::of_parts([])?;
        for (name, tensors) in wanted {
            let shown = shown(&name);
            if name.contains(['/', '\\', '\0']) || !name.to_lowercase().ends_with(".safetensors") {
                return Err(format!(
                    "the index names `{shown}`, which is no safetensors file beside it"
                ));
            }
            let source = Source::open(&path.with_file_name(&name)).map_err(|error| {
                format!("its part `{shown}` cannot be read: {error}; put all parts in one folder")
            })?;
            let part = SafetensorsFile::of_parts([(source, Some(tensors))])
                .map_err(|reason| format!("its part `{shown}`: {reason}"))?;
            let before = file.parts.len();
            file.parts.extend(part.parts);
            file.tensors.extend(part.tensors);
            file.places
                .extend(part.places.into_iter().map(|place| Place { part: before, ..place }));
        }
        Ok(file)
    }
}

impl TensorReader for SafetensorsFile {
    fn format(&self) -> Format {
        Format::Safetensors
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    fn read(&mut self, index: usize) -> Result<Vec<f32>, String> {
        let (tensor, place) = (&self.tensors[index], &self.places[index]);
        if !tensor.element.is_float() {
            return Err(tensor.element.not_float(&tensor.name));
        }
        let layout = Layout::contiguous(&tensor.shape);
        layout.and_then(|layout| layout.read(&self.parts[place.part], place.at, tensor.element))
    }
}

/// Where the tensors begin, and the header, whose tensors fill the rest of the file.
fn header(source: &Source) -> Result<(u64, Metadata), String> {
    let mut word = [0; LENGTH as usize];
    source.fill(0, &mut word)?;
    let len = u64::from_le_bytes(word);
    if len > LONGEST_HEADER {
        let most = LONGEST_HEADER >> 20;
        return Err(format!("its header states {len} bytes, and {most} MiB are read at most"));
    }
    let text = source.bytes(LENGTH, len)?;
    let damaged = |error: serde_json::Error| format!("this is no intact safetensors file: {error}");
    let names: Entries<IgnoredAny> = serde_json::from_slice(&text).map_err(damaged)?;
    names.check_unique()?;
    let header: Metadata = serde_json::from_slice(&text).map_err(damaged)?;
    let begin = LENGTH + len;
    let (stated, there) = (header.data_len() as u64, source.len() - begin);
    if stated != there {
        return Err(format!(
            "its tensors take {stated} bytes, and the file has {there}: it is cut off or damaged; \
             download it again"
        ));
    }
    Ok((begin, header))
}

fn element(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        Dtype::U64 => ElementType::Other("u64"),
        Dtype::U32 => ElementType::Other("u32"),
        Dtype::U16 => ElementType::Other("u16"),
        Dtype::C64 => ElementType::Other("c64"),
        _ => ElementType::Other("of fewer than 16 bits"),
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    #[serde(deserialize_with = "unique")]
    weight_map: Entries<String>,
}

fn unique<'de, D: Deserializer<'de>>(from: D) -> Result<Entries<String>, D::Error> {
    let entries = Entries::deserialize(from)?;
    entries.check_unique().map_err(serde::de::Error::custom)?;
    Ok(entries)
}

/// The entries of a JSON object in their order; a map would keep one of each name.
struct Entries<T>(Vec<(String, T)>);

impl<T> Entries<T> {
    fn check_unique(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        match self.0.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(format!("it names `{}` twice", shown(name))),
            None => Ok(()),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(Collect(std::marker::PhantomData))
    }
}
