//! What was learned, in one safetensors file that is enough to use it.
//!
//! Tensors keep their names (`conv1.weight`) and this program's layout: filters as `[filters,
//! height, width, channels]`, linear weights as `[outputs, inputs]`. `input.mean` is what is
//! subtracted from an image. The file's metadata has one entry, `alexnet`: TOML with the network,
//! the classes and the input. One entry, because the format keeps entries in no order, and equal
//! runs should give equal files.

use crate::recipe::Input;
use crate::{Error, Result, atomic};
use layers::{Parameters, Spec};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tensor::Device;

/// A trained network outside any device.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// What it is.
    pub about: About,
    /// What is subtracted from an image: `[height, width, 3]`, or 3 numbers.
    pub mean: Values,
    /// Every parameter by name, in the network's order.
    pub parameters: Vec<(String, Values)>,
}

/// Everything about a network but its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version of this format.
    pub format: u32,
    /// What each class is called.
    pub classes: Vec<String>,
    /// How an image enters.
    pub input: Input,
    /// Its rows.
    pub model: Spec,
}

/// Numbers with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Vec<f32>,
}

impl Weights {
    /// The version that this program writes.
    pub const FORMAT: u32 = 1;

    /// Copies a network's parameters from its device.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    pub fn of(
        device: &Device,
        parameters: &Parameters,
        mean: Values,
        about: About,
    ) -> Result<Weights> {
        let entries = parameters.entries.iter().enumerate();
        let parameters = entries
            .map(|(idx, entry)| {
                let values = device.download(parameters.value(idx))?;
                let shape = entry.shape.dims().to_vec();
                Ok((entry.name.clone(), Values { shape, values }))
            })
            .collect::<Result<_>>()?;
        Ok(Weights { about, mean, parameters })
    }

    /// Copies the parameters to a device on which the same network is planned.
    ///
    /// # Errors
    /// [`Error::Weights`] naming `path` if a parameter is missing or has another shape.
    pub fn upload(&self, device: &mut Device, parameters: &Parameters, path: &Path) -> Result<()> {
        for (idx, entry) in parameters.entries.iter().enumerate() {
            let found = self.parameters.iter().find(|(name, _)| *name == entry.name);
            let refused = |reason| Error::Weights { path: path.into(), reason };
            let (_, found) =
                found.ok_or_else(|| refused(format!("there is no tensor `{}`", entry.name)))?;
            if found.shape != entry.shape.dims() {
                return Err(refused(format!(
                    "`{}` is {:?}, and the network has {:?} there",
                    entry.name, found.shape, entry.shape
                )));
            }
            device.upload(parameters.value(idx), &found.values)?;
        }
        Ok(())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let named = self.parameters.iter().map(|(name, values)| (name.as_str(), values));
        let views = named.chain([("input.mean", &self.mean)]).map(|(name, tensor)| {
            let bytes = bytemuck::cast_slice(&tensor.values);
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
            (name, view.expect("as many numbers as the shape says"))
        });
        let about = toml::to_string(&self.about).expect("only strings, numbers and lists");
        let metadata = HashMap::from([("alexnet".to_string(), about)]);
        safetensors::serialize(views, Some(metadata)).expect("names and sizes fit the format")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is missing, damaged, or not one of this program's.
    pub fn read(path: &Path) -> Result<Weights> {
        let refused = |reason: String| Error::Weights { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|error| refused(format!("cannot read: {error}")))?;
        Weights::from_bytes(&bytes).map_err(refused)
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Weights, String> {
        let damaged = |error| format!("this is not an intact safetensors file ({error})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let about = header.metadata().as_ref().and_then(|entries| entries.get("alexnet"));
        let about = about.ok_or(
            "the file says nothing about its network (metadata `alexnet`): it was not written by \
             this program",
        )?;
        let about: About = toml::from_str(about)
            .map_err(|error| format!("its metadata cannot be understood: {error}"))?;
        if about.format != Weights::FORMAT {
            let (theirs, ours) = (about.format, Weights::FORMAT);
            return Err(format!("it is of format {theirs}, and this program reads {ours}"));
        }
        let mut tensors = HashMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(damaged)?.iter() {
            tensors.insert(name.to_string(), floats(name, &view)?);
        }
        let mean = tensors.remove("input.mean").ok_or("there is no tensor `input.mean`")?;
        let mut parameters: Vec<_> = tensors.into_iter().collect();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Weights { about, mean, parameters })
    }
}

fn floats(name: &str, view: &TensorView<'_>) -> std::result::Result<Values, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("`{name}` holds {:?}, and this program reads F32", view.dtype()));
    }
    let words = view.data().chunks_exact(4);
    let values = words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Values { shape: view.shape().to_vec(), values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes;

    fn tiny() -> Weights {
        let input = recipes::paper().input;
        let classes = vec!["cat".to_string(), "dog \"x\"".to_string()];
        let model = Spec::image("tiny", 4, 4, 3).linear("fc1", 2);
        let weight = Values { shape: vec![2, 48], values: (0..96).map(|i| i as f32).collect() };
        Weights {
            about: About { format: Weights::FORMAT, classes, input, model },
            mean: Values { shape: vec![3], values: vec![0.25, 0.5, f32::MIN_POSITIVE] },
            parameters: vec![
                ("fc1.bias".into(), Values { shape: vec![2], values: vec![-1.0, 1.0] }),
                ("fc1.weight".into(), weight),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = tiny().to_bytes();
        assert_eq!(Weights::from_bytes(&bytes), Ok(tiny()));
        assert_eq!(bytes, tiny().to_bytes(), "equal networks give equal files");
    }

    #[test]
    fn damage_is_told() {
        let bytes = tiny().to_bytes();
        for cut in [0, 7, 40, bytes.len() - 1] {
            let error = Weights::from_bytes(&bytes[..cut]).unwrap_err();
            assert!(error.contains("not an intact"), "{cut}: {error}");
        }
        let foreign = safetensors::serialize(Vec::<(&str, TensorView)>::new(), None).unwrap();
        let error = Weights::from_bytes(&foreign).unwrap_err();
        assert!(error.contains("not written by this program"), "{error}");
        let error = Weights::read(Path::new("/no/such.safetensors")).unwrap_err().to_string();
        assert!(error.starts_with("/no/such.safetensors: cannot read"), "{error}");
    }
}
