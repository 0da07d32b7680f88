//! What this program's exports state beside their tensors: the network, its classes and its input.

use super::TensorReader;
use crate::{About, Mean, Values};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;

/// The keys under which a file has them, in the metadata of its format.
pub(crate) const ABOUT: &str = "alexnet.about";
pub(crate) const MEAN: &str = "alexnet.mean";

/// An entry is no longer; a mean image of 256 x 256 pixels takes a megabyte.
pub(crate) const LONGEST: u64 = 4 << 20;

/// The metadata of an export.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exported {
    pub about: About,
    pub mean: Values,
}

impl Exported {
    /// The entries of the file's metadata.
    ///
    /// # Errors
    /// A sentence, if the mean image is too large for them.
    pub fn entries(&self) -> Result<[(&'static str, String); 2], String> {
        let values = &self.mean.values;
        let mean = match self.about.input.mean {
            Mean::Color => serde_json::to_string(values).expect("numbers"),
            Mean::Image => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                STANDARD.encode(bytes)
            }
        };
        if mean.len() as u64 > LONGEST {
            return Err(format!(
                "its mean image, {:?}, is too large for the metadata of other programs' files: \
                 only this program's own format keeps it",
                self.mean.shape
            ));
        }
        Ok([(ABOUT, self.about.to_toml()), (MEAN, mean)])
    }

    /// The metadata of a file; `None` if it is not an export of this program.
    ///
    /// # Errors
    /// A sentence, if it cannot be used.
    pub fn of(file: &dyn TensorReader) -> Result<Option<Exported>, String> {
        let Some(about) = file.metadata(ABOUT) else { return Ok(None) };
        let wrapped = HashMap::from([("alexnet".to_string(), about.to_string())]);
        let about = About::from_metadata(&wrapped)?;
        let damaged = || "the mean in its metadata is damaged; export it again".to_string();
        let text = file.metadata(MEAN).ok_or_else(damaged)?;
        let values: Vec<f32> = match about.input.mean {
            Mean::Color => serde_json::from_str(text).map_err(|_| damaged())?,
            Mean::Image => {
                let bytes = STANDARD.decode(text).map_err(|_| damaged())?;
                let (words, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(damaged());
                }
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
        };
        let [height, width, _] = about.model.input;
        let side = about.input.side.unwrap_or(height.max(width));
        let shape = match about.input.mean {
            Mean::Color => vec![3],
            Mean::Image => vec![side, side, 3],
        };
        let expected = shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len));
        if expected != Some(values.len()) {
            return Err(damaged());
        }
        let mean = Values { shape, values };
        about.check(&mean)?;
        Ok(Some(Exported { about, mean }))
    }
}

/// The entries among the files of an archive, by their names there; `read` gives a file's bytes.
pub(super) fn of_archive(
    mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, String>,
) -> Result<HashMap<String, String>, String> {
    let mut metadata = HashMap::new();
    for key in [ABOUT, MEAN] {
        if let Some(bytes) = read(key)? {
            let text = String::from_utf8(bytes)
                .map_err(|_| format!("its entry {key} is not text; export it again"))?;
            metadata.insert(key.to_string(), text);
        }
    }
    Ok(metadata)
}
