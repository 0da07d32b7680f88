//! The Python version: pickled dictionaries. The published files were written by Python 2; files
//! written by Python 3 are accepted, too, with any number of images.

use super::PIXELS;
use std::borrow::Cow;
use unpickle::numpy::{Global, array, text};
use unpickle::{Pickle, PickleLimits, Value, load};

/// CIFAR-100's training file has 50,000 file names, and as many labels of each of two kinds.
const LIMITS: PickleLimits = PickleLimits { values: 1 << 19, depth: 16 };

/// The images of a Python file.
pub(super) struct PythonBatch<'a> {
    pub(super) labels: Vec<i64>,
    planes: Cow<'a, [u8]>,
}

impl PythonBatch<'_> {
    /// Reads a pickle and passes its images to `take`.
    ///
    /// # Errors
    /// If it is not a pickle of plain values and arrays, or has unequal numbers of labels and
    /// images.
    pub(super) fn read<T>(
        bytes: &[u8],
        labels: &str,
        take: impl FnOnce(&PythonBatch) -> Result<T, String>,
    ) -> Result<T, String> {
        let pickle = read(bytes)?;
        let (data, labels) = (entry(&pickle, "data")?, entry(&pickle, labels)?);
        let data = array(data).map_err(|error| format!("its `data`: {error}"))?;
        let planes = data.as_u8().filter(|_| data.shape.len() == 2 && data.shape[1] == PIXELS);
        let planes = planes.ok_or_else(|| {
            let shape = &data.shape;
            format!("its `data` has shape {shape:?}; expected bytes of shape [images, {PIXELS}]")
        })?;
        let labels = integers(labels).ok_or("its labels are not a list of integers")?;
        if labels.len() != data.shape[0] {
            return Err(format!("{} labels for {} images", labels.len(), data.shape[0]));
        }
        take(&PythonBatch { labels, planes })
    }

    /// The label and the colour planes of each image.
    pub(super) fn records(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.labels.iter().copied().zip(self.planes.chunks_exact(PIXELS))
    }
}

/// The names of the classes.
pub(super) fn class_names(bytes: &[u8], key: &str) -> Result<Vec<String>, String> {
    let pickle = read(bytes)?;
    let names = entry(&pickle, key)?.items().ok_or("its class names are not a list")?;
    let names: Option<Vec<String>> = names.map(|name| text(name).map(str::to_owned)).collect();
    names.ok_or_else(|| "a class name is not text".to_owned())
}

fn read(bytes: &[u8]) -> Result<Pickle<'_, Global>, String> {
    load(bytes, &LIMITS).map_err(|error| error.to_string())
}

fn entry<'p>(pickle: &'p Pickle<'_, Global>, key: &str) -> Result<Value<'p, Global>, String> {
    let found = pickle
        .root()
        .pairs()
        .and_then(|pairs| pairs.filter(|&(name, _)| text(name) == Some(key)).last());
    found.map(|(_, value)| value).ok_or_else(|| format!("it has no `{key}`"))
}

/// The integers of a list or a one-dimensional array.
fn integers(value: Value<'_, Global>) -> Option<Vec<i64>> {
    if let Ok(array) = array(value) {
        return array.to_i64().filter(|_| array.shape.len() == 1);
    }
    value.items()?.map(|item| item.as_int()).collect()
}
