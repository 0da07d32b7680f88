//! Parameters that a run inherits from another one.

use crate::checkpoint::{self, Checkpoint};
use crate::pattern::fits;
use crate::{Error, Result};
use kernels::denormal;
use layers::{Parameter, TrainableNetwork};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tensor::Device;
use weights::{Values, Weights};

/// Parameters of another run, by name.
#[derive(Clone, Debug)]
pub struct Pretrained {
    path: PathBuf,
    /// Patterns of the layers to copy; `None`: all, but the last only if its shape is the same.
    layers: Option<Vec<String>>,
    values: HashMap<String, Values>,
    velocities: HashMap<String, Values>,
}

impl Pretrained {
    /// Reads the parameters of a run from its folder, a file of weights or a checkpoint. For a run
    /// without weights, the newest checkpoint is read, and a note passed to `say`. `layers` are
    /// names, in which `*` matches any text; without them all layers are copied, the last only if
    /// both networks have the same number of classes.
    ///
    /// With `velocities`, those are copied, too: `from` is then a run's folder, whose newest
    /// checkpoint is read.
    ///
    /// # Errors
    /// [`Error::Weights`] or [`Error::Checkpoint`] if nothing can be read.
    pub fn read(
        from: &Path,
        layers: Option<Vec<String>>,
        velocities: bool,
        say: &mut dyn FnMut(&str),
    ) -> Result<Pretrained> {
        if velocities {
            let Some(checkpoint) = checkpoint::find_newest(from, &mut |_| ())? else {
                let reason = "this run has no checkpoint, which velocities are read from";
                return Err(Error::Checkpoint { path: from.into(), reason: reason.to_string() });
            };
            let Checkpoint { path, parameters, velocities, .. } = checkpoint;
            return Ok(Pretrained { path, layers, values: parameters, velocities });
        }
        let (path, weights) = if from.is_dir() {
            weights::run::newest_weights(from, say)?
        } else {
            (from.to_path_buf(), Weights::read(from)?)
        };
        let values = weights.parameters.into_iter().collect();
        Ok(Pretrained { path, layers, values, velocities: HashMap::new() })
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The indices in `entries` of the parameters that are copied.
    ///
    /// # Errors
    /// [`Error::Weights`] if one of them is missing or has another shape, or if a name matches no
    /// layer.
    pub fn taken(&self, entries: &[Parameter]) -> Result<Vec<usize>> {
        let refused = |reason: String| {
            Error::from(weights::Error::Unusable { path: self.path.clone(), reason })
        };
        if let Some(layers) = &self.layers
            && let Some(idle) =
                layers.iter().find(|name| !entries.iter().any(|e| fits(name, e.layer())))
        {
            return Err(refused(format!("the new network has no layer that fits `{idle}`")));
        }
        let last = entries.last().map_or("", Parameter::layer);
        let mut taken = Vec::new();
        for (idx, entry) in entries.iter().enumerate() {
            let chosen = match &self.layers {
                Some(layers) => layers.iter().any(|name| fits(name, entry.layer())),
                None => entry.layer() != last || self.has(entry),
            };
            if !chosen {
                continue;
            }
            if !self.has(entry) {
                let there = match self.values.get(&entry.name) {
                    Some(found) => format!("is {:?}", found.shape),
                    None => "is not there".to_string(),
                };
                return Err(refused(format!(
                    "`{}` {there}, and the new network has {}: name the layers to copy",
                    entry.name, entry.shape
                )));
            }
            taken.push(idx);
        }
        Ok(taken)
    }

    /// Whether velocities are copied, too.
    pub(crate) fn has_velocities(&self) -> bool {
        !self.velocities.is_empty()
    }

    fn has(&self, entry: &Parameter) -> bool {
        self.values.get(&entry.name).is_some_and(|found| found.shape == entry.shape.dims())
    }

    /// Copies parameters to the device; `whole` are those of the whole network, and `share` returns
    /// the elements that the device holds.
    ///
    /// # Errors
    /// As [`taken`](Self::taken); [`Error::Device`].
    pub(crate) fn upload(
        &self,
        device: &mut Device,
        network: &TrainableNetwork,
        whole: &[Parameter],
        share: impl Fn(&Parameter) -> Range<usize>,
    ) -> Result<()> {
        for taken in self.taken(whole)? {
            let name = &whole[taken].name;
            let parameters = &network.parameters;
            let Some(idx) = parameters.entries.iter().position(|entry| entry.name == *name) else {
                continue; // it is on another device
            };
            let own = share(&parameters.entries[idx]);
            let values = &self.values[name].values[own.clone()];
            denormal::upload(device, parameters.value(idx), values)?;
            if let Some(from) = self.velocities.get(name) {
                denormal::upload(device, network.velocity(idx), &from.values[own])?;
            }
        }
        Ok(())
    }

    /// A digest of all parameters, which is part of a run's identity.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for tensors in [&self.values, &self.velocities] {
            let mut names: Vec<&String> = tensors.keys().collect();
            names.sort();
            for name in names {
                hash.update(name);
                hash.update(bytemuck::cast_slice::<f32, u8>(&tensors[name].values));
            }
        }
        self.layers.iter().flatten().for_each(|name| hash.update(name));
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
