//! A trained network in one self-contained safetensors file.
//!
//! Tensors have the parameters' names (`conv1.weight`) and layout: filters as `[filters, height,
//! width, channels]`, linear weights as `[outputs, inputs]`. `input.mean` is subtracted from an
//! image. The file's metadata has one entry, `alexnet`: TOML with the network, the classes and the
//! input. A checkpoint of a run is such a file with more tensors, and can be read as one.

use crate::import::{self, ImportOptions};
use crate::input::{Input, Mean, Scale};
use crate::tensors::{Contents, Tensor, TensorFile, Values};
use crate::{Error, Result};
use layers::{Parameters, Spec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tensor::Device;

/// Prefix of a tensor's name: the velocity of a parameter.
pub const VELOCITY: &str = "velocity.";

/// Prefix of a tensor's name: Adam's second moment of a parameter.
pub const SECOND_MOMENT: &str = "second_moment.";

/// The prefix of averages of parameters in a checkpoint.
pub const AVERAGE: &str = "average.";

/// The tensor that is subtracted from an image.
const MEAN: &str = "input.mean";

/// A trained network in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The network, its classes and its input.
    pub about: About,
    /// The mean that is subtracted from an image: `[height, width, 3]` or `[3]`.
    pub mean: Values,
    /// Every parameter by name, in the network's order.
    pub parameters: Vec<(String, Values)>,
}

/// A network's metadata: everything but its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version of this format.
    pub format: u32,
    /// The classes' unique ids.
    pub classes: Vec<String>,
    /// The classes' readable names, in the same order; empty if there are none. Two classes may
    /// have the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// How pixels become the network's input.
    pub input: Input,
    /// The network.
    pub model: Spec,
}

impl Weights {
    /// The version that this program writes, unless a file needs a later one.
    pub const FORMAT: u32 = 1;

    /// The latest version that it reads: 2 has a scale per channel, or rounds the centre of images to
    /// even.
    pub(crate) const LATEST: u32 = 2;

    /// The file's name in a run's folder.
    pub const FILE: &str = "weights.safetensors";

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
    /// [`Error::Unusable`] naming `path` if a parameter is missing or has another shape.
    pub fn upload(&self, device: &mut Device, parameters: &Parameters, path: &Path) -> Result<()> {
        for (idx, entry) in parameters.entries.iter().enumerate() {
            let found = self.parameters.iter().find(|(name, _)| *name == entry.name);
            let refused = |reason| Error::Unusable { path: path.into(), reason };
            let found = check_shape(&entry.name, found.map(|(_, it)| it), entry.shape.dims());
            let found = found.map_err(refused)?;
            parameters.upload(device, idx, &found.values)?;
        }
        Ok(())
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        Ok(files::atomic::write(path, &self.to_bytes())?)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let named = self.parameters.iter().map(|(name, values)| (name.as_str(), values));
        let tensors = [(MEAN, &self.mean)].into_iter().chain(named).map(|(name, tensor)| {
            let Values { shape, values } = tensor;
            Tensor { name: name.to_string(), shape, values }
        });
        let contents = Contents {
            metadata: BTreeMap::from([("alexnet", self.about.to_toml())]),
            tensors: tensors.collect(),
            checked: false,
        };
        let mut bytes = Vec::new();
        contents.write(&mut bytes).expect("writing to a Vec does not fail");
        bytes
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Unusable`] if it is missing, corrupt, inconsistent or not written by this program;
    /// [`Error::NotFinite`] with the first tensor that has a NaN or an infinity.
    pub fn read(path: impl AsRef<Path>) -> Result<Weights> {
        let path = path.as_ref();
        let refused = |reason: String| Error::Unusable { path: path.into(), reason };
        let bytes = files::read(path).map_err(|error| refused(format!("cannot read: {error}")))?;
        Weights::from_bytes(&bytes).map_err(refused)?.finite(path)
    }

    /// Reads a file of this program, or one of another program ([`import`](crate::import)) that fits
    /// one of the networks in `options`.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`import::read`](crate::import::read).
    pub fn open(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Weights> {
        let path = path.as_ref();
        if import::is_foreign(path) { import::read(path, options) } else { Weights::read(path) }
    }

    /// The metadata of a file that [`open`](Self::open) reads, without its parameters.
    ///
    /// # Errors
    /// As [`open`](Self::open), but parameters are not checked.
    pub fn about(path: impl AsRef<Path>, options: &ImportOptions) -> Result<About> {
        let path = path.as_ref();
        if import::is_foreign(path) {
            return import::about(path, options);
        }
        let refused = |reason: String| Error::Unusable { path: path.into(), reason };
        let source = import::Source::open(path);
        let source = source.map_err(|error| refused(format!("cannot read: {error}")))?;
        match import::own_metadata(&source) {
            Some(metadata) => {
                let about = About::from_metadata(&metadata).map_err(refused)?;
                about.check_network().map_err(refused)?;
                Ok(about)
            }
            None => Weights::read(path).map(|weights| weights.about), // with the reason
        }
    }

    /// Rejects values that are not finite.
    pub(crate) fn finite(self, path: &Path) -> Result<Weights> {
        match self.first_not_finite() {
            None => Ok(self),
            Some(tensor) => Err(Error::NotFinite { path: path.into(), tensor }),
        }
    }

    /// The name of the first tensor with a value that is not finite.
    pub(crate) fn first_not_finite(&self) -> Option<String> {
        let named = self.parameters.iter().map(|(name, values)| (name.as_str(), values));
        let mut tensors = [(MEAN, &self.mean)].into_iter().chain(named);
        let first = tensors.find(|(_, tensor)| tensor.values.iter().any(|x| !x.is_finite()));
        first.map(|(name, _)| name.to_string())
    }

    /// Checks that every parameter of the network exists with its shape, before memory is allocated
    /// for a network that may be huge.
    pub(crate) fn check_shapes(&self) -> std::result::Result<(), String> {
        let expected = self.about.model.parameter_shapes().map_err(|error| error.to_string())?;
        for (name, shape) in expected {
            let found = self.parameters.iter().find(|(own, _)| *own == name);
            check_shape(&name, found.map(|(_, values)| values), shape.dims())?;
        }
        Ok(())
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Weights, String> {
        let read = TensorFile::from_bytes(bytes)?;
        let about = About::from_metadata(&read.metadata)?;
        let mut tensors = read.tensors;
        // A checkpoint also has the optimizer's state. Averages take the place of what they average.
        let averages = take_state(&mut tensors, AVERAGE);
        for prefix in [VELOCITY, SECOND_MOMENT] {
            take_state(&mut tensors, prefix);
        }
        tensors.extend(averages);
        let mean = tensors.remove(MEAN).ok_or("there is no tensor `input.mean`")?;
        about.check(&mean)?;
        let mut parameters: Vec<_> = tensors.into_iter().collect();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        let weights = Weights { about, mean, parameters };
        weights.check_shapes()?;
        Ok(weights)
    }
}

/// Removes the tensors of the optimizer's state with this prefix, and returns them by the names of
/// their parameters. A layer may be named like a prefix, without its dot: only what names another
/// tensor behind the prefix is state.
pub fn take_state(tensors: &mut HashMap<String, Values>, prefix: &str) -> HashMap<String, Values> {
    let of = |name: &String| name.strip_prefix(prefix).map(str::to_string);
    let mut names: Vec<String> = tensors.keys().filter_map(of).collect();
    names.retain(|name| tensors.contains_key(name));
    let take = |name: String| Some((tensors.remove(&format!("{prefix}{name}"))?, name));
    names.into_iter().filter_map(take).map(|(values, name)| (name, values)).collect()
}

/// Returns the tensor called `name` if it was found and has this shape.
pub(crate) fn check_shape<'a>(
    name: &str,
    found: Option<&'a Values>,
    shape: &[usize],
) -> std::result::Result<&'a Values, String> {
    match found {
        None => Err(format!("there is no tensor `{name}`")),
        Some(found) if found.shape == shape => Ok(found),
        Some(found) => Err(format!("`{name}` is {:?}; the network needs {shape:?}", found.shape)),
    }
}

impl About {
    /// Checks that classes, network and image size agree, as the file may be untrusted.
    fn check_network(&self) -> std::result::Result<(), String> {
        self.model.describe().map_err(|error| error.to_string())?;
        let outputs = self.model.classes().map_err(|error| error.to_string())?;
        if self.classes.len() != outputs {
            let classes = self.classes.len();
            return Err(format!(
                "it names {classes} classes, but its network has {outputs} outputs"
            ));
        }
        self.input.check().map_err(|problem| format!("its metadata is invalid: {problem}"))?;
        let [height, width, channels] = self.model.input;
        let side = self.input.side.unwrap_or(height.max(width));
        if channels != 3 || height > side || width > side {
            return Err(format!(
                "its network's input is {height} x {width} x {channels}, which is not a crop of \
                 images of {side} x {side} x 3"
            ));
        }
        Ok(())
    }

    /// As [`check_network`](Self::check_network), and that the mean agrees.
    pub(crate) fn check(&self, mean: &Values) -> std::result::Result<(), String> {
        self.check_network()?;
        let [height, width, _] = self.model.input;
        let side = self.input.side.unwrap_or(height.max(width));
        let expected = match self.input.mean {
            Mean::Color => vec![3],
            Mean::Image => vec![side, side, 3],
        };
        if mean.shape == expected {
            Ok(())
        } else {
            Err(format!(
                "`{MEAN}` is {:?}, but images of side {side} need {expected:?}",
                mean.shape
            ))
        }
    }

    /// Whether the classes have their numbers for ids, as those of a file that does not name them.
    pub fn has_numbered_classes(&self) -> bool {
        self.classes.iter().enumerate().all(|(at, class)| *class == at.to_string())
    }

    /// The TOML in the file's metadata.
    pub fn to_toml(&self) -> String {
        let is_first = matches!(self.input.scale, Scale::All(_)) && self.input.centre.is_down();
        let format = if is_first { Weights::FORMAT } else { Weights::LATEST };
        let about = About { format, ..self.clone() };
        toml::to_string(&about).expect("only strings, numbers and lists")
    }

    /// Parses a file's metadata.
    ///
    /// # Errors
    /// A message, if it was not written by this program or has another format version.
    pub fn from_metadata(metadata: &HashMap<String, String>) -> std::result::Result<About, String> {
        let about = metadata.get("alexnet").ok_or(
            "the file does not describe its network (metadata `alexnet`): it was not written by \
             this program",
        )?;
        let about: About = toml::from_str(about)
            .map_err(|error| format!("its metadata cannot be parsed: {error}"))?;
        if !(1..=Weights::LATEST).contains(&about.format) {
            let (theirs, ours) = (about.format, Weights::LATEST);
            return Err(format!(
                "its format is version {theirs}; this program reads versions 1 to {ours}"
            ));
        }
        Ok(about)
    }
}

#[cfg(test)]
mod tests;
