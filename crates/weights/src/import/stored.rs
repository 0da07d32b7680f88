//! Tensors that show parts of storages, with strides: those of PyTorch and NumPy.

use super::elements::Layout;
use super::names::{self, shown};
use super::{ElementType, Format, Source, TensorInfo, TensorReader};
use rawzip::Crc32;
use std::collections::{HashMap, HashSet};

/// Bytes of a file that are checked at a time.
const PIECE: u64 = 1 << 20;

/// A tensor as a file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<usize>,
    /// In elements, as is `offset`, which is that in the storage.
    pub strides: Vec<usize>,
    pub offset: usize,
    /// The storage's key.
    pub storage: String,
}

/// Where the elements of a storage lie, which one or several tensors show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Storage {
    pub at: u64,
    pub bytes: u64,
    /// The checksum of its bytes, if there is one, as in most zip files.
    pub crc32: Option<u32>,
}

/// The storages of a file by their keys.
pub(super) type Storages = HashMap<String, Storage>;

/// An open file of such tensors.
pub(super) struct StoredTensors {
    format: Format,
    source: Source,
    tensors: Vec<TensorInfo>,
    /// For each tensor, in the same order.
    places: Vec<Place>,
    /// Storages whose checksums were right.
    checked: HashSet<Storage>,
    metadata: HashMap<String, String>,
}

struct Place {
    storage: Storage,
    /// The byte of the file at which the tensor's first element lies.
    at: u64,
    layout: Layout,
}

impl StoredTensors {
    /// # Errors
    /// A sentence with a tensor's name, if it does not lie in its storage.
    pub fn new(
        format: Format,
        source: Source,
        described: Vec<Described>,
        storages: &Storages,
    ) -> Result<StoredTensors, String> {
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for tensor in described {
            let wrong = |reason| format!("the tensor `{}` has {reason}", shown(&tensor.name));
            places.push(place(&tensor, storages).map_err(wrong)?);
            let Described { name, shape, element, .. } = tensor;
            tensors.push(TensorInfo { name, shape, element });
        }
        names::unwrap(&mut tensors)?;
        let (checked, metadata) = (HashSet::new(), HashMap::new());
        Ok(StoredTensors { format, source, tensors, places, checked, metadata })
    }

    /// The same with text by name.
    pub fn with_metadata(self, metadata: HashMap<String, String>) -> StoredTensors {
        StoredTensors { metadata, ..self }
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

impl TensorReader for StoredTensors {
    fn format(&self) -> Format {
        self.format
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
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
