//! Checkpoints: a run on disk, in one file that is whole or not there.
//!
//! `checkpoints/step-00001234.safetensors` is a file of [`weights`] that has more in
//! it: the velocities (`velocity.conv1.weight`), or Adam's first moments in their place, and its
//! second ones (`second_moment.conv1.weight`); averages (`average.conv1.weight`); a second entry of
//! metadata, `checkpoint`, which is JSON with the run's [`Identity`] and its [`Progress`]; the
//! SHA-256 of everything before it.
//!
//! A file is written under another name, made durable, renamed; then the folder is made durable;
//! then `latest` names it; only then are older ones removed. So whatever happens, the newest file
//! with a checkpoint's name is whole, or the one before it is.

mod identity;
mod lost;
mod store;
mod writer;

pub use identity::{Difference, Identity};
pub(crate) use store::Store;
pub use store::{find_newest, load_newest};
pub(crate) use writer::{CheckpointWriter, Files, WriterThread};

use crate::progress::Progress;
use crate::{Error, Result};
use layers::Parameter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use tensor::Shape;
use weights::tensors::{Contents, Tensor, TensorFile};
use weights::{AVERAGE, About, SECOND_MOMENT, VELOCITY, Values};

/// When checkpoints are written, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How many of the newest are kept, besides the best.
    pub keep: usize,
    /// Write one after every so many steps. In any case one is written after a validation that is
    /// the best so far, after any other if the last checkpoint is a minute old, every ten minutes,
    /// at a signal, and at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { keep: 2, every: None }
    }
}

/// A run as it was at some step.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The file it was read from.
    pub path: PathBuf,
    /// The network, its classes, how an image enters.
    pub about: About,
    /// What may not change from here on.
    pub identity: Identity,
    /// How far the run had come.
    pub progress: Progress,
    /// What is subtracted from an image.
    pub mean: Values,
    pub(crate) parameters: HashMap<String, Values>,
    pub(crate) velocities: HashMap<String, Values>,
    pub(crate) second_moments: HashMap<String, Values>,
    pub(crate) averages: HashMap<String, Values>,
}

/// Why a file is no checkpoint that can be gone on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its bytes are not as they were written, or were never a checkpoint's.
    Damaged(String),
    /// Its checksum is right, and another version of this program wrote it.
    Foreign(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Refusal::Damaged(reason) | Refusal::Foreign(reason)) = self;
        f.write_str(reason)
    }
}

/// The second entry of metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: u32,
    identity: Identity,
    progress: Progress,
}

impl Checkpoint {
    /// The version that this program writes.
    pub const FORMAT: u32 = 1;

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is missing, damaged, or not one of this program's.
    pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        let refused = |reason: String| Error::Checkpoint { path: path.into(), reason };
        let bytes = files::read(path).map_err(|error| refused(format!("cannot read: {error}")))?;
        Checkpoint::from_file(&bytes, path)
    }

    /// A checkpoint whose file another process has read, at `path`.
    ///
    /// # Errors
    /// As [`read`](Self::read): its checksum says whether all has come.
    pub fn from_file(bytes: &[u8], path: &Path) -> Result<Checkpoint> {
        let refused = |reason: String| Error::Checkpoint { path: path.into(), reason };
        Checkpoint::from_bytes(bytes, path).map_err(|refusal| refused(refusal.to_string()))
    }

    pub(crate) fn from_bytes(
        bytes: &[u8],
        path: &Path,
    ) -> std::result::Result<Checkpoint, Refusal> {
        let read = TensorFile::from_bytes(bytes).map_err(Refusal::Damaged)?;
        let is_as_written = read.checked;
        Checkpoint::from_tensors(read, path).map_err(if is_as_written {
            Refusal::Foreign
        } else {
            Refusal::Damaged
        })
    }

    fn from_tensors(read: TensorFile, path: &Path) -> std::result::Result<Checkpoint, String> {
        let about = About::from_metadata(&read.metadata)?;
        let metadata = read.metadata.get("checkpoint");
        let metadata = metadata.ok_or("these are weights, and no checkpoint")?;
        if !read.checked {
            return Err("it has no checksum".to_string());
        }
        let format = serde_json::from_str::<serde_json::Value>(metadata)
            .map(|entries| entries["format"].as_u64());
        if let Ok(Some(theirs)) = format
            && theirs != u64::from(Checkpoint::FORMAT)
        {
            let ours = Checkpoint::FORMAT;
            return Err(format!("it is of format {theirs}, and this program reads {ours}"));
        }
        let metadata: Metadata = serde_json::from_str(metadata)
            .map_err(|error| format!("its metadata cannot be understood: {error}"))?;
        let mut parameters = read.tensors;
        let mean = parameters.remove("input.mean").ok_or("there is no tensor `input.mean`")?;
        let [velocities, second_moments, averages] = [VELOCITY, SECOND_MOMENT, AVERAGE]
            .map(|prefix| weights::take_state(&mut parameters, prefix));
        let Metadata { identity, progress, .. } = metadata;
        let path = path.into();
        Ok(Checkpoint {
            path,
            about,
            identity,
            progress,
            mean,
            parameters,
            velocities,
            second_moments,
            averages,
        })
    }

    /// The value and the velocity of a parameter, by its name.
    pub fn parameter_named(&self, name: &str) -> Option<(&[f32], &[f32])> {
        let (value, velocity) = (self.parameters.get(name)?, self.velocities.get(name)?);
        Some((&value.values, &velocity.values))
    }

    /// The value and the velocity of a parameter.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if one is missing or has another shape.
    pub(crate) fn parameter(&self, name: &str, shape: Shape) -> Result<(&[f32], &[f32])> {
        let value = self.find(&self.parameters, "tensor", name, shape)?;
        Ok((value, self.find(&self.velocities, "velocity of", name, shape)?))
    }

    /// The second moment of a parameter that Adam trains.
    ///
    /// # Errors
    /// As [`parameter`](Self::parameter).
    pub(crate) fn second_moment(&self, name: &str, shape: Shape) -> Result<&[f32]> {
        self.find(&self.second_moments, "second moment of", name, shape)
    }

    /// The average of a parameter, under a recipe that has averages.
    ///
    /// # Errors
    /// As [`parameter`](Self::parameter).
    pub(crate) fn average(&self, name: &str, shape: Shape) -> Result<&[f32]> {
        self.find(&self.averages, "average of", name, shape)
    }

    fn find<'a>(
        &self,
        values: &'a HashMap<String, Values>,
        what: &str,
        name: &str,
        shape: Shape,
    ) -> Result<&'a [f32]> {
        let reason = match values.get(name) {
            Some(found) if found.shape == shape.dims() => return Ok(&found.values),
            Some(found) => {
                format!("{what} `{name}` is {:?}, and the network has {shape:?} there", found.shape)
            }
            None => format!("there is no {what} `{name}`"),
        };
        Err(Error::Checkpoint { path: self.path.clone(), reason })
    }
}

/// What all checkpoints of a run have in common.
pub(crate) struct RunMetadata {
    pub about: About,
    pub identity: Identity,
    pub mean: Values,
    pub entries: Vec<Parameter>,
    /// The prefixes of the names of the optimizer's state, in its order in a snapshot.
    pub state: Vec<&'static str>,
}

/// A copy of what changes from step to step, outside the device, so that training can go on while
/// it is written.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The block of parameters, as the network lays it out.
    pub values: Vec<f32>,
    /// The blocks of the optimizer's state, one after the other.
    pub state: Vec<f32>,
    pub progress: Progress,
}

impl RunMetadata {
    /// The file of weights: averages, if there are some.
    pub(crate) fn weights<'a>(&'a self, snapshot: &'a Snapshot) -> Contents<'a> {
        let average = self.blocks(snapshot).find(|(prefix, _)| *prefix == AVERAGE);
        self.contents(average.map_or(&snapshot.values, |(_, block)| block))
    }

    /// The blocks of the optimizer's state, with the prefixes of their names.
    fn blocks<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'static str, &'a [f32])> {
        let blocks = snapshot.state.chunks_exact(snapshot.values.len().max(1));
        self.state.iter().copied().zip(blocks)
    }

    fn contents<'a>(&'a self, values: &'a [f32]) -> Contents<'a> {
        let mean = Tensor {
            name: "input.mean".into(),
            shape: &self.mean.shape,
            values: &self.mean.values,
        };
        let values = self.tensors("", values);
        Contents {
            metadata: BTreeMap::from([("alexnet", self.about.to_toml())]),
            tensors: std::iter::once(mean).chain(values).collect(),
            checked: false,
        }
    }

    /// The checkpoint.
    pub(crate) fn checkpoint<'a>(&'a self, snapshot: &'a Snapshot) -> Contents<'a> {
        let metadata = Metadata {
            format: Checkpoint::FORMAT,
            identity: self.identity.clone(),
            progress: snapshot.progress.clone(),
        };
        let metadata = serde_json::to_string(&metadata).expect("plain data");
        let mut contents = self.contents(&snapshot.values);
        contents.metadata.insert("checkpoint", metadata);
        for (prefix, block) in self.blocks(snapshot) {
            contents.tensors.extend(self.tensors(prefix, block));
        }
        contents.checked = true;
        contents
    }

    fn tensors<'a>(
        &'a self,
        prefix: &'a str,
        block: &'a [f32],
    ) -> impl Iterator<Item = Tensor<'a>> {
        self.entries.iter().map(move |entry| Tensor {
            name: format!("{prefix}{}", entry.name),
            shape: entry.shape.dims(),
            values: &block[entry.start..entry.start + entry.len()],
        })
    }

    /// The first tensor of a snapshot that holds something that is no number.
    pub(crate) fn first_not_finite(&self, snapshot: &Snapshot) -> Option<String> {
        let contents = self.checkpoint(snapshot);
        let spoilt = |tensor: &&Tensor<'_>| tensor.values.iter().any(|value| !value.is_finite());
        contents.tensors.iter().find(spoilt).map(|tensor| tensor.name.clone())
    }
}

#[cfg(test)]
mod tests;
