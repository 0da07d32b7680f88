//! Parameters that a run takes over from another instead of drawing them.

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
pub struct Init {
    path: PathBuf,
    /// Which layers are taken; `None`: all, but the last only if it has as many classes.
    layers: Option<Vec<String>>,
    values: HashMap<String, Values>,
    velocities: HashMap<String, Values>,
}

impl Init {
    /// Reads what a run learned: `from` is its folder, or a file of weights or a checkpoint. Of a
    /// run that has no weights yet its newest checkpoint is taken, which `say` is told.
    /// `layers` are names, `*` standing for any run of letters; without them all layers are taken,
    /// and the last only if the two networks tell as many classes apart.
    ///
    /// With `velocities` the new run goes on as if only its images and its recipe had changed:
    /// `from` is then a run's folder, whose newest checkpoint is read.
    ///
    /// # Errors
    /// [`Error::Weights`], [`Error::Checkpoint`] if there is nothing that can be read.
    pub fn read(
        from: &Path,
        layers: Option<Vec<String>>,
        velocities: bool,
        say: &mut dyn FnMut(&str),
    ) -> Result<Init> {
        if velocities {
            let Some(checkpoint) = checkpoint::find_newest(from, &mut |_| ())? else {
                let reason = "this run has no checkpoint, and velocities are nowhere else";
                return Err(Error::Checkpoint { path: from.into(), reason: reason.to_string() });
            };
            let Checkpoint { path, parameters, velocities, .. } = checkpoint;
            return Ok(Init { path, layers, values: parameters, velocities });
        }
        let (path, weights) = if from.is_dir() {
            weights::run::newest_weights(from, say)?
        } else {
            (from.to_path_buf(), Weights::read(from)?)
        };
        let values = weights.parameters.into_iter().collect();
        Ok(Init { path, layers, values, velocities: HashMap::new() })
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The places in `entries` of the parameters that are taken.
    ///
    /// # Errors
    /// [`Error::Weights`] if one of them is missing or has another shape, or if no layer fits a
    /// name.
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
                    "`{}` {there}, and the new network has {}: name the layers to take with \
                     --init-layers",
                    entry.name, entry.shape
                )));
            }
            taken.push(idx);
        }
        Ok(taken)
    }

    /// Whether velocities are taken, too.
    pub(crate) fn has_velocities(&self) -> bool {
        !self.velocities.is_empty()
    }

    fn has(&self, entry: &Parameter) -> bool {
        self.values.get(&entry.name).is_some_and(|found| found.shape == entry.shape.dims())
    }

    /// Copies what is taken of a network with the parameters `whole` over what the device holds of
    /// it: of each parameter the numbers that `share` says.
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

    /// A digest of all that can be taken, in letters: part of what a run is.
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
